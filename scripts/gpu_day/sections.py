"""What a GPU day does, in order of value: correctness, then rates, then what explains them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One part of the day, which runs in a process of its own.

    work: "module:function", called with a `Task`. seconds: its share of the day, among those of the
    others. least: what it gets of a short day; with less time it is left out. needs: packages
    without which it cannot run. num_gpus: CUDA devices that it needs. gate: without its success
    nothing else runs.
    """

    name: str
    work: str
    seconds: float
    least: float = 5
    needs: tuple[str, ...] = ()
    num_gpus: int = 0
    gate: bool = False


_COMMANDS = ("hydra", "omegaconf")

SECTIONS = (
    Section("machine", "scripts.gpu_day.machine:find", 15, least=15, gate=True),
    Section("losses", "scripts.gpu_day.correctness:losses", 45, least=25),
    Section("commands", "scripts.gpu_day.correctness:commands", 50, least=30, needs=_COMMANDS),
    Section("rates", "scripts.gpu_day.rates:training", 140, least=25),
    Section(
        "tests",
        "scripts.gpu_day.correctness:tests",
        90,
        least=30,
        needs=(*_COMMANDS, "pytest", "mlxtend", "hypothesis"),
    ),
    Section("limits", "scripts.gpu_day.machine:limits", 10, least=15),
    Section("captured", "scripts.gpu_day.lean:graphs", 30, least=20),
    Section("triton", "scripts.gpu_day.lean:kernels", 30, least=20),
    Section("lean", "scripts.gpu_day.lean:lean", 35, least=25),
    Section("readers", "scripts.gpu_day.lean:reading", 15, least=15),
    Section("jpegs", "scripts.gpu_day.lean:decoding", 5, least=10, needs=("simplejpeg",)),
    Section("operators", "scripts.gpu_day.operators:operators", 35, least=20),
    Section("evaluation", "scripts.gpu_day.rates:evaluation", 25, least=20),
    Section("residency", "scripts.gpu_day.rates:residency", 20, least=20),
    Section("compiled", "scripts.gpu_day.rates:compiled", 45, least=40),
    Section("peers", "scripts.gpu_day.peers:peers", 40, least=20, needs=("torchvision", "PIL")),
    Section("two devices", "scripts.gpu_day.rates:two_devices", 15, least=20, num_gpus=2),
    Section("traces", "scripts.gpu_day.operators:traces", 15, least=15),
)
