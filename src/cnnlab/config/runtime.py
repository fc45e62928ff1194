"""Settings of the machine: device, precision, threads, and several processes."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class RuntimeConfig:
    """The machine."""

    device: str = setting("auto, cpu, cuda, cuda:1 ...")
    precision: str = setting("of the arithmetic", choices=("fp32", "tf32", "bf16"))
    num_threads: int | None = setting("CPU threads; null lets torch choose", at_least=1)
    deterministic: bool = setting("bit-identical runs on CUDA, slower")
    channels_last: bool = setting("memory format of the network")
    compile: bool = setting(
        "while training: network and loss as one graph for each batch size", earlier=False
    )
    profile: bool = setting("while training: trace 20 steps into the run folder")


@dataclass(kw_only=True)
class DistributedConfig:
    """What matters only under torchrun; one process ignores it."""

    timeout_seconds: float = setting(
        "standstill of all processes that ends the job; longer than saving takes", above=0
    )
    compression: str = setting(
        "of gradients on their way; bf16 halves the bytes and rounds", choices=("none", "bf16")
    )
