"""`cnnlab.build_model`: a network of the house as a plain module, with new weights."""

from collections.abc import Sequence
from typing import Any

from cnnlab import host, models
from cnnlab.command import calling
from cnnlab.config import MODELS
from cnnlab.models import Network


def build_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    input_size_pixels: int | None = None,
    seed: int | None = None,
    plugins: Sequence[str] = (),
    **settings: Any,
) -> Network:
    """Build a model by its name: an nn.Module on the CPU, in training mode.

    None: as it was published. settings: of the model, as `cnnlab train` takes them below `model.`:
    width=0.25, dropout=0.5. [N,C,S,S] normalized float images -> [N,K] scores, larger = better.
    The weights follow `seed`; torch's own random numbers are neither read nor changed.
    Raises UsageError for an unknown name or setting, and for sizes that do not work.
    """
    sizes = {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "input_size_pixels": input_size_pixels,
    }
    given = {key: value for key, value in sizes.items() if value is not None}
    own = {f"model.{key}": value for key, value in settings.items()}
    words = {"model": name, "plugins": list(plugins), **given, **own}

    # `summary` has these settings and no others: a key without effect is none of its own
    config = calling.checked("summary", [], words)
    usual = MODELS[config.model.name].usual_input
    chosen = (config.in_channels, config.input_size_pixels, config.num_classes)
    channels, side, classes = (
        asked or published for asked, published in zip(chosen, usual, strict=True)
    )
    with host.plain_torch():
        return models.build(
            config.model,
            in_channels=channels,
            input_size_pixels=side,
            num_classes=classes,
            seed=config.seed if seed is None else seed,
        )
