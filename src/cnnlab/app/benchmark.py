"""`cnnlab benchmark`: the throughput of each part of a training, and what limits it."""

from dataclasses import asdict
from typing import Any

import torch

from cnnlab import session, system
from cnnlab.config import BenchmarkConfig, Launch
from cnnlab.console import Console
from cnnlab.distributed import ALONE
from cnnlab.plain_json import json_text
from cnnlab.runtime import describe_device
from cnnlab.safe_output import write_out
from cnnlab.trainer import starting_weights
from cnnlab.trainer.assemble import assemble
from cnnlab.trainer.throughput import Bench, Throughput, bottleneck


def run(config: BenchmarkConfig, launch: Launch) -> int:
    """Measure and print; write no file. Return 0."""
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


def document(config: BenchmarkConfig, bench: Bench, parts: list[Throughput]) -> dict[str, Any]:
    """Return the measurement as plain data for JSON."""
    rows = [{**asdict(part), "share_of_limit": part.share_of_limit} for part in parts]
    capture = bench.assembly.update.capturing.line

    return {
        "model": config.model.name,
        "dataset": config.dataset.name,
        "device": describe_device(bench.device),
        "torch": str(torch.__version__),
        "precision": config.runtime.precision,
        "batch_size": config.trainer.batch_size,
        "evaluation_batch_size": bench.assembly.evaluating.batch_size,
        **({} if bench.assembly.kernels is None else {"kernels": bench.assembly.kernels}),
        **({} if capture is None else {"capture": capture}),
        **asdict(bench.roofline),
        "parts": rows,
        "binds": bottleneck(parts),
        "peak_memory_bytes": peak_memory_bytes(bench.device),
    }


def show(console: Console, config: BenchmarkConfig, bench: Bench, parts: list[Throughput]) -> None:
    """Print the measurement as a table."""
    peak = bench.roofline
    console.line(f"device      {describe_device(bench.device)}, {config.runtime.precision}")
    console.line(
        f"peak        {peak.flop_per_second / 1e9:,.0f} GFLOP/s in matrix products, "
        f"{peak.copy_bytes_per_second / 1e9:.1f} GB/s in memory copies"
    )
    console.line(
        f"training    {config.model.name} on {config.dataset.name}, batch size "
        f"{config.trainer.batch_size}, augment={config.augment.name}"
    )

    if bench.assembly.kernels is not None:
        console.line(f"kernels     {bench.assembly.kernels}")
    if bench.assembly.update.capturing.line is not None:
        console.line(f"capture     {bench.assembly.update.capturing.line}")

    columns = ("part", "images/s", "ms/batch", "limited by", "limit (images/s)", "reached")
    console.table(columns, [_cells(part) for part in parts])

    console.line(f"bottleneck  {bottleneck(parts)}")
    if (most := peak_memory_bytes(bench.device)) is not None:
        console.line(f"memory      peak {most / 2**20:,.0f} MiB")


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the most that training took of a CUDA device's memory, elsewhere the process's peak.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return system.peak_memory_bytes()


def _cells(part: Throughput) -> list[str]:
    return [
        part.name,
        f"{part.images_per_second:,.0f}",
        f"{part.milliseconds_per_batch:.2f}",
        part.limit,
        f"{part.limit_images_per_second:,.0f}",
        f"{part.share_of_limit:.1%}",
    ]
