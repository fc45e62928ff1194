"""Settings of the moving average of the weights, and which weights a command takes."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.schema import setting
from cnnlab.errors import UsageError

RAW, EMA = "raw", "ema"
KINDS = (RAW, EMA)
"""The weights as they were trained, and their exponential moving average."""


@dataclass(kw_only=True)
class EmaConfig:
    """The exponential moving average of the weights, kept beside them while training."""

    decay: float | None = setting(
        "exponential moving average of the weights: its decay per update, for example 0.999; "
        "null: none is kept",
        above=0,
        below=1,
        earlier=None,
    )


def judged_weights() -> Any:
    """Declare the setting of training that says which weights are judged."""
    return setting(
        "weights that are validated, choose the best checkpoint, and are tested: raw, or ema, "
        "their moving average",
        choices=KINDS,
        earlier=RAW,
    )


def stored_weights(whose: str = "the checkpoint's", **metadata: Any) -> Any:
    """Declare the setting of a command that says which weights of a checkpoint it takes."""
    return setting(
        f"{whose} weights to use: raw, or ema, their moving average; null: those that its "
        "training judged",
        choices=KINDS,
        **metadata,
    )


def check_ema(ema: EmaConfig, which_weights: str) -> None:
    """Raise UsageError if the average is to be judged, and none is kept."""
    if which_weights == EMA and ema.decay is None:
        raise UsageError(
            "which_weights=ema needs a moving average of the weights",
            hint="ema.decay=0.999 keeps one",
        )
