"""Figures of a network that need no training: parameters and receptive fields."""

from dataclasses import replace
from functools import partial

from cnnlab import models
from cnnlab.config import MODELS, TrainConfig, choices, parse_model
from cnnlab.models.summary import Summary, summarize_unbuilt

LECTURE_CLASSES = 100
TOWERS = "alexnet_two_tower"


def fc_share(config: TrainConfig) -> list[float]:
    """Return the share of the parameters in fully connected layers, 0..1."""
    return [_summary(config).fc_share]


def num_parameters(config: TrainConfig) -> list[float]:
    """Return the number of trainable parameters."""
    return [float(_summary(config).num_parameters)]


def parameter_excess(config: TrainConfig) -> list[float]:
    """Return how many more parameters the network has than the two towers of 2012, as a share."""
    (before,) = num_parameters(replace(config, model=parse_model(choices.alone("model", TOWERS))))
    return [_summary(config).num_parameters / before - 1]


def receptive_fields(config: TrainConfig) -> list[float]:
    """Return the receptive fields of convolutions and poolings in pixels, from the image on."""
    rows = _summary(config).rows
    return [float(row.receptive_field_pixels) for row in rows if row.role in ("conv", "pool")]


def lecture_total(config: TrainConfig) -> list[float]:
    """Return the number that the lecture's slide prints as the sum of the network's parameters.

    100 classes instead of 1,000, and one of the two hidden bias vectors left out.
    """
    summary = _summary(config, LECTURE_CLASSES)
    hidden = next(row.output_size[0] for row in summary.rows if row.role == "fc")
    return [float(summary.num_parameters - hidden)]


def _summary(config: TrainConfig, num_classes: int | None = None) -> Summary:
    """Return the table of a network at the sizes for which it was published."""
    channels, size, classes = MODELS[config.model.name].usual_input
    build = partial(
        models.build,
        models.on_one_device(config.model),
        in_channels=channels,
        input_size_pixels=size,
        num_classes=num_classes or classes,
        seed=0,
    )
    return summarize_unbuilt(build, config.model.name)
