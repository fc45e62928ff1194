"""Networks from the shipped configs."""

from collections.abc import Callable
from typing import Any

import pytest

from cnnlab import models
from cnnlab.config import choices
from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.config.schema import parse
from cnnlab.models import Network


def config_of(name: str, **changes: Any) -> ModelConfig:
    """Return the shipped settings of a model with some changed."""
    plain = choices.alone("model", name)
    return parse(ModelConfig, plain | changes, "model")


@pytest.fixture(scope="session")
def configure() -> Callable[..., ModelConfig]:
    """Give `configure(name, **changes)`."""
    return config_of


@pytest.fixture(scope="session")
def build() -> Callable[..., Network]:
    """Give `build(name, channels, size, classes, seed=0, **changes)`; None: the model's usual."""

    def make(
        name: str,
        channels: int | None = None,
        size: int | None = None,
        classes: int | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> Network:
        given = (channels, size, classes)
        channels, size, classes = (
            own if value is None else value
            for value, own in zip(given, MODELS[name].usual_input, strict=True)
        )
        return models.build(
            config_of(name, **changes),
            in_channels=channels,
            input_size_pixels=size,
            num_classes=classes,
            seed=seed,
        )

    return make
