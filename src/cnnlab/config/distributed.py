"""Settings of a job of several processes."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class DistributedConfig:
    """What matters only under torchrun; one process ignores it."""

    timeout_seconds: float = setting(
        "standstill of all processes that ends the job; longer than saving takes", above=0
    )
    compression: str = setting(
        "of gradients on their way; bf16 halves the bytes and rounds", choices=("none", "bf16")
    )
