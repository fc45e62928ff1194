"""`cnnlab prepare`: build a verified Store from any image set."""

import time
from importlib.metadata import version
from pathlib import Path

from cnnlab import data, interrupts
from cnnlab.config import Launch, PrepareConfig
from cnnlab.console import Console
from cnnlab.cpu.processors import budget
from cnnlab.data import decode, manifest
from cnnlab.data.building import Builder
from cnnlab.data.manifest import Manifest
from cnnlab.data.recipe import Recipe, Tolerance
from cnnlab.data.shards import Source
from cnnlab.data.store import Reading, Splits, Store
from cnnlab.data.workers import Workers
from cnnlab.errors import Interrupted, UsageError
from cnnlab.safe_output import command_line


def run(config: PrepareConfig, launch: Launch) -> int:
    """Build, resume or verify the Store in `output`; return the exit code."""
    if config.output is None:
        raise UsageError("output is missing", hint="output=FOLDER names the Store")

    console = Console()
    try:
        with interrupts.watching():
            if config.verify:
                with interrupts.at_once():
                    _verify(Path(config.output), console)
            else:
                _prepare(config, Path(config.output), launch, console)
    finally:
        console.close()
    return 0


def _prepare(config: PrepareConfig, output: Path, launch: Launch, console: Console) -> None:
    sources = sources_for(data.load(config.dataset), config)
    for source in sources.values():
        console.line(source.store.describe())

    meter = Meter(console, launch.command)
    workers = Workers(_num_threads(config))
    builder = Builder(sources, recipe_for(config), output, workers, meter)
    console.start_bar(builder.num_images, 0, "preparing", unit="images")
    found = builder.run(Tolerance(config.on_bad, config.max_bad_fraction), config.wait_seconds)
    console.stop_bar()
    report(found, output, console)
    console.line(
        meter.rate() if meter.num_done else "nothing to do: this Store was finished before"
    )


def sources_for(splits: Splits, config: PrepareConfig) -> dict[str, Source]:
    """Return the splits that the set has, each to be read as configured."""
    return {name: _source(store, config) for name, store in splits.stores().items()}


def _source(store: Store, config: PrepareConfig) -> Source:
    threads = _num_threads(config)
    reading = Reading(config.side_pixels, config.kernel, config.max_image_pixels, threads)
    return Source(store.read_as(reading), config.side_pixels, config.kernel)


def _num_threads(config: PrepareConfig) -> int:
    return config.num_threads or budget().processors


def recipe_for(config: PrepareConfig) -> Recipe:
    """Return what decides, with the source, every byte of the Store."""
    return Recipe(
        encoding=config.encoding,
        side_pixels=config.side_pixels,
        kernel=config.kernel,
        quality=config.quality,
        shard_bytes=config.shard_megabytes << 20,
        libraries={name: version(name) for name in ("torch", "pillow", "simplejpeg")},
        decoding=decode.POLICY,
    )


class Meter:
    """Advance the progress bar, and end the preparation between two images when asked to stop."""

    def __init__(self, console: Console, command: str) -> None:
        self._console, self._command = console, command
        self._start, self.num_done = time.monotonic(), 0

    def __call__(self, num_done: int) -> None:
        if (signal_number := interrupts.requested()) is not None:
            self._console.stop_bar()
            raise Interrupted(
                interrupts.exit_code(signal_number),
                f"finished shards are kept; continue with the same command: {self._command}",
            )
        self.num_done = num_done
        self._console.advance_bar(num_done, self.rate)

    def rate(self) -> str:
        """Return '1,234 images/s'."""
        seconds = max(time.monotonic() - self._start, 1e-6)
        return f"{self.num_done / seconds:,.0f} images/s"


def report(found: Manifest, output: Path, console: Console) -> None:
    """Print the content of the Store and how to train on it."""
    for name, split in found.splits.items():
        size = sum(shard.num_bytes for shard in split.shards)
        skipped = (
            f", {len(split.skipped)} skipped (listed in the manifest)" if split.skipped else ""
        )
        console.line(f"{name}: {split.num_images:,} images, {size:,} bytes{skipped}")
    console.line(f"Store: {output.absolute()}")
    words = (f"dataset={found.name}", f"dataset.root={output}")
    console.line(f"train on it: {command_line('cnnlab', 'train', *words)}")


def _verify(output: Path, console: Console) -> None:
    found = manifest.read(output)
    total = sum(entry.num_bytes for entry in found.all_files())
    console.start_bar(total, 0, "verifying", unit="bytes")

    def advance(done: int) -> None:
        console.advance_bar(done, lambda: "verifying")

    num_bytes = manifest.verify(output, found, advance)
    console.stop_bar()
    num_files = sum(1 for _ in found.all_files())
    console.line(f"every digest is correct: {num_files} files, {num_bytes:,} bytes")
