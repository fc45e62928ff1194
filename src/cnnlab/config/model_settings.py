"""What the settings of models have in common."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class ModelConfig:
    """What every model has."""

    name: str = setting("name of the model")

    @property
    def training_loss(self) -> str:
        """Name of the loss that training minimizes, in `training/losses.py`."""
        return "cross_entropy"


@dataclass(kw_only=True)
class ScalableConfig(ModelConfig):
    """A model with a width multiplier; its depth stays."""

    width: float = setting(
        "width multiplier of all channels and hidden units; 0.25: a quarter of each",
        at_least=0.0625,
        at_most=16,
        earlier=1.0,
    )
