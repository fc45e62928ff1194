"""Settings of the training loss, beyond what the model says of it, and the table of losses."""

from dataclasses import dataclass

from cnnlab.config.bounds import MOST_FLOAT32
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class LossConfig:
    """What training minimizes; validation and test report the plain cross-entropy."""

    name: str = setting("name of the training loss", earlier="default")

    @property
    def weighs_classes(self) -> bool:
        """Return whether an image counts by its class."""
        return False


@dataclass(kw_only=True)
class DefaultLossConfig(LossConfig):
    """The loss that belongs to the model, the cross-entropy for nearly all."""

    label_smoothing: float = setting(
        "label smoothing of the training loss: share of each target spread evenly over all classes",
        at_least=0,
        below=1,
        earlier=0.0,
    )
    class_weights: list[float] | str | None = setting(
        "weights of the classes in the training loss, for uneven sets; balanced: inversely "
        "proportional to their training images; null: none",
        above=0,
        at_most=MOST_FLOAT32,
        choices=("balanced",),
        earlier=None,
    )

    @property
    def weighs_classes(self) -> bool:
        """Return whether an image counts by its class."""
        return self.class_weights is not None


LOSSES = Table(
    "loss",
    LossConfig,
    {"default": Choice(DefaultLossConfig, "cnnlab.training.losses:build_default")},
)
"""Builders: (settings) -> loss: (scores [N,K], labels [N]) -> the loss of each image [N].

That of `default` also takes the model's `training_loss` and the weights of the classes.
"""


def check_loss(loss: LossConfig, model: ModelConfig) -> None:
    """Raise UsageError for a setting without meaning in the loss that the model trains with."""
    if model.training_loss == "cross_entropy":
        return

    asked, is_for = [f"loss={loss.name}"], "takes the place of the cross-entropy"
    if isinstance(loss, DefaultLossConfig):
        asked = [f"loss.label_smoothing={loss.label_smoothing:g}"] if loss.label_smoothing else []
        if loss.class_weights is not None:
            asked.append(f"loss.class_weights={loss.class_weights}")
        is_for = "is for the cross-entropy loss"
    if asked:
        raise UsageError(
            f"{asked[0]} {is_for}; model={model.name} trains with {model.training_loss}",
            hint=f"leave {asked[0].partition('=')[0]} out, or choose another model",
        )


def is_cross_entropy(loss: LossConfig, model: ModelConfig) -> bool:
    """Return whether training minimizes the cross-entropy, plain or with its settings."""
    return isinstance(loss, DefaultLossConfig) and model.training_loss == "cross_entropy"
