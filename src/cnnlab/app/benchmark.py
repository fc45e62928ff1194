"""`cnnlab benchmark`: each part of a training on this machine, beside what limits it."""

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cnnlab import session
from cnnlab.config import BenchmarkConfig, Launch
from cnnlab.console import Console
from cnnlab.data.inputs import Inputs
from cnnlab.distributed import ALONE
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.models.summary import summarize
from cnnlab.plain_json import json_text
from cnnlab.printable import write_out
from cnnlab.runtime import describe_device, make_generator
from cnnlab.trainer import starting_weights
from cnnlab.trainer.assemble import EVALUATION_BATCH, Assembly, assemble
from cnnlab.training.hooks import Every, RunningLoss
from cnnlab.training.loop import Hook, TrainState, fit

WARM_ROUNDS = 3
COPY_BYTES = 2**26
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Part:
    """One part of a training: its rate, and the rate at which its limit would have it.

    limit: what the limit is: copying its bytes, or the matrix product of its multiply-adds.
    """

    name: str
    images_per_second: float
    milliseconds_per_batch: float
    limit: str
    limit_images_per_second: float

    @property
    def share_of_limit(self) -> float:
        """Return how near the part is to its limit, 0..1."""
        return self.images_per_second / self.limit_images_per_second


def run(config: BenchmarkConfig, launch: Launch) -> int:
    """Measure and print; nothing is written anywhere. Return 0."""
    device = session.begin(config.runtime).device
    config, weights = starting_weights.resolve(config, launch.overrides, ALONE)
    with session.skip_hint(launch):
        assembly = assemble(config, device, checkpoint=weights.checkpoint if weights else None)
    bench = Bench(assembly, config.seconds_per_part)
    parts = bench.parts()
    if config.format == "json":
        write_out(json_text(document(config, bench, parts)))
    else:
        show(Console(progress=False), config, bench, parts)
    return 0


class Bench:
    """The parts of one training, ready to be timed, and this machine's two limits."""

    def __init__(self, assembly: Assembly, seconds: float) -> None:
        self.assembly, self.device, self._seconds = assembly, assembly.device, seconds
        self.copy_bytes_per_second = self._copy_limit()
        self.flop_per_second = self._matrix_limit()
        self._state = TrainState(assembly.network, assembly.optimizer)

    def parts(self) -> list[Part]:
        """Time reading, augmentation, the step, all three together, and evaluation."""
        return [
            self._loader(),
            self._augmentation(),
            self._step(),
            self._loop(),
            self._evaluation(),
        ]

    def seconds_each(self, action: Callable[[], object]) -> float:
        """Return the seconds of one `action`: the mean over as many as fit the time, warmed up."""
        for _ in range(WARM_ROUNDS):
            action()
        self._wait()
        num_rounds, started = 0, time.perf_counter()
        while num_rounds < 2 or time.perf_counter() - started < self._seconds:
            action()
            num_rounds += 1
            if num_rounds % 16 == 0:
                self._wait()  # else the clock would only see how fast work is handed over
        self._wait()
        return (time.perf_counter() - started) / num_rounds

    def _loader(self) -> Part:
        batches = self.assembly.stream.batches()
        images = next(batches).images
        return self._copying("loader", lambda: next(batches), len(images), 2 * images.nbytes)

    def _augmentation(self) -> Part:
        parts = self.assembly
        batch = next(parts.stream.batches())
        pixels, inputs = batch.images, Inputs(parts.augmentation, parts.preprocessing)

        def change() -> torch.Tensor:
            generator = make_generator(parts.config.seed, "augment")
            return inputs(pixels, generator, batch.rank_slice)

        num_bytes = pixels.nbytes + change().nbytes
        return self._copying("augmentation", change, len(pixels), num_bytes)

    def _step(self) -> Part:
        images, labels = next(self.assembly.batches())
        self._state.model.train()

        def step() -> None:
            self.assembly.step(self._state, images, labels)

        return self._computing("step", step, len(images), self._training_flop())

    def _loop(self) -> Part:
        parts, batches = self.assembly, self.assembly.batches()
        hooks: list[Hook] = [
            RunningLoss(self.device),
            Every(10, lambda state, _: parts.guard.check(state)),
        ]

        def advance() -> None:
            state = self._state
            fit(state, batches, parts.step, parts.schedule.rate_at, hooks, state.step + 1)

        batch_size = parts.config.trainer.batch_size
        return self._computing("whole loop", advance, batch_size, self._training_flop())

    def _evaluation(self) -> Part:
        parts = self.assembly
        store = parts.splits.test
        images, labels, *_ = next(iter(parts.in_order(store)))
        member = parts.member(parts.config.evaluation.name)
        num_views = member.views(images[:1]).shape[1]

        def judge() -> None:
            evaluate([member], [(images, labels)], num_classes=len(store.class_names))

        flop = 2 * num_views * self._multiply_adds()[0]
        return self._computing("evaluation", judge, len(images), flop)

    def _copying(
        self, name: str, action: Callable[[], object], num_images: int, num_bytes: int
    ) -> Part:
        limit = self.copy_bytes_per_second * num_images / num_bytes
        return self._part(name, action, num_images, "copying its bytes", limit)

    def _computing(
        self, name: str, action: Callable[[], object], num_images: int, flop_per_image: float
    ) -> Part:
        limit = self.flop_per_second / flop_per_image
        return self._part(name, action, num_images, "its matrix products", limit)

    def _part(
        self, name: str, action: Callable[[], object], num_images: int, what: str, limit: float
    ) -> Part:
        seconds = self.seconds_each(action)
        return Part(name, num_images / seconds, 1e3 * seconds, what, limit)

    def _multiply_adds(self) -> tuple[int, int]:
        """Return the multiply-adds of one image on its way forward, and those of layer one."""
        rows = summarize(self.assembly.network, self.assembly.config.model.name).rows
        counts = [row.num_multiply_adds for row in rows if row.num_multiply_adds]
        return sum(counts), counts[0]

    def _training_flop(self) -> float:
        """Return the FLOP of one image forward and back; the first layer needs no way to pixels."""
        total, first = self._multiply_adds()
        return 2.0 * (3 * total - first)

    def _copy_limit(self) -> float:
        source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * COPY_BYTES / self._fastest(lambda: target.copy_(source))

    def _matrix_limit(self) -> float:
        side = MATRIX_SIDE[self.device.type]
        precision = self.assembly.config.runtime.precision
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.ones(side, side, dtype=dtype, device=self.device) for _ in range(2))
        return 2 * side**3 / self._fastest(lambda: a @ b)

    def _fastest(self, action: Callable[[], object], repeats: int = 7) -> float:
        times = []
        for _ in range(repeats):
            self._wait()
            started = time.perf_counter()
            action()
            self._wait()
            times.append(time.perf_counter() - started)
        return min(times)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory_bytes(self) -> int:
        """Return the most memory held so far: the device's, on a CPU the process's."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def binding(parts: list[Part]) -> str:
    """Return the part of a training step that takes longest."""
    return max(parts[:3], key=lambda part: part.milliseconds_per_batch).name


def document(config: BenchmarkConfig, bench: Bench, parts: list[Part]) -> dict[str, Any]:
    """Return the measurement as plain data, ready for JSON."""
    rows = [{**asdict(part), "share_of_limit": part.share_of_limit} for part in parts]
    return {
        "model": config.model.name,
        "dataset": config.dataset.name,
        "device": describe_device(bench.device),
        "torch": str(torch.__version__),
        "precision": config.runtime.precision,
        "batch_size": config.trainer.batch_size,
        "evaluation_batch_size": EVALUATION_BATCH,
        "copy_bytes_per_second": bench.copy_bytes_per_second,
        "flop_per_second": bench.flop_per_second,
        "parts": rows,
        "binds": binding(parts),
        "peak_memory_bytes": bench.peak_memory_bytes(),
    }


def show(console: Console, config: BenchmarkConfig, bench: Bench, parts: list[Part]) -> None:
    """Print the measurement as a table."""
    console.line(f"device      {describe_device(bench.device)}, {config.runtime.precision}")
    console.line(
        f"limits      {bench.flop_per_second / 1e9:,.0f} GFLOP/s of matrix product, "
        f"{bench.copy_bytes_per_second / 1e9:.1f} GB/s of copying"
    )
    console.line(
        f"training    {config.model.name} on {config.dataset.name}, batch "
        f"{config.trainer.batch_size}, augment={config.augment.name}"
    )
    columns = ("part", "images/s", "ms a batch", "limit", "images/s", "reached")
    console.table(columns, [_cells(part) for part in parts])
    console.line(f"the {binding(parts)} binds the training step")
    console.line(f"memory      {bench.peak_memory_bytes() / 2**20:,.0f} MiB at most")


def _cells(part: Part) -> list[str]:
    return [
        part.name,
        f"{part.images_per_second:,.0f}",
        f"{part.milliseconds_per_batch:.2f}",
        part.limit,
        f"{part.limit_images_per_second:,.0f}",
        f"{part.share_of_limit:.1%}",
    ]
