"""Settings that have an effect only beside certain values of others, where a command has many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cnnlab.config import pictures


@dataclass(frozen=True)
class Need:
    """Settings that have an effect only with certain values of others.

    keys: settings or whole sections, refused when typed where `is_met(config)` is false.
    otherwise: why they have no effect then. way_out: what would give them one.
    """

    keys: tuple[str, ...]
    is_met: Callable[[Any], bool]
    otherwise: str
    way_out: str

    def concerns(self, key: str) -> bool:
        """Return whether `key` is one of the settings or in one of the sections."""
        return any(key == name or key.startswith(f"{name}.") for name in self.keys)


def of_summary() -> tuple[Need, ...]:
    """Return the needs of `summary`, which prints a network's table or one layer's figures."""
    return (
        Need(
            ("model", "input_size_pixels", "num_classes", "init_report", "communication"),
            lambda config: config.layer is None,
            "the figures are of one layer, not of a network",
            "without layer=... the table of the network is printed",
        ),
        Need(
            ("dataset", "num_images", "seed"),
            lambda config: bool(config.init_report),
            "the table needs no images and no weights",
            "init_report=true also runs the network on images",
        ),
        Need(
            ("images_per_worker",),
            lambda config: config.communication is not None,
            "no exchange between workers is shown",
            "communication=8 shows that of eight",
        ),
        _for_some_layers("size", "kernel", "stride", "padding", "dilation", "ceil"),
        _for_some_layers("out_channels", layers=("conv",)),
        _for_some_layers("in_features", "out_features", layers=("fc",)),
        Need(
            ("in_channels",),
            lambda config: config.layer != "fc",
            "a fully connected layer has features",
            "in_features=N says how many",
        ),
    )


def of_visualize() -> tuple[Need, ...]:
    """Return the needs of `visualize`: what the pictures asked for do not use is refused."""
    return (
        *map(_for_some_pictures, pictures.SETTINGS),
        Need(
            ("model",),
            lambda config: config.checkpoint is None,
            "the checkpoint has its own",
            "without checkpoint=... it is drawn untrained",
        ),
        Need(
            ("dataset", "split", "which_weights", "batch_size"),
            lambda config: bool(pictures.of_trained(config.what)),
            "the drawings need no images and no weights",
            "what=all checkpoint=PATH would use it",
        ),
        Need(
            ("runtime",),
            lambda config: bool(config.checkpoint or pictures.of_trained(config.what)),
            "nothing is computed",
            "with checkpoint=PATH a network is loaded",
        ),
        Need(
            ("formats",),
            lambda config: bool(pictures.drawn(config.what)),
            "a page is always HTML",
            "pictures take it: what=filters",
        ),
        Need(
            ("indices", "num_images"),
            lambda config: not config.images,
            "all pictures of images are shown",
            "without images=... they choose from the split",
        ),
        Need(
            ("num_images",),
            lambda config: config.indices is None,
            "indices names the images",
            "indices=null chooses so many",
        ),
        Need(
            ("num_units",),
            lambda config: config.units is None,
            "units names them",
            "units=null chooses the most active",
        ),
    )


def _for_some_layers(*keys: str, layers: tuple[str, ...] = ("conv", "pool")) -> Need:
    """Return the need of settings of `summary` that describe a single layer of these kinds."""
    return Need(
        keys,
        lambda config: config.layer in layers,
        "no layer that it describes is asked for",
        f"layer={'|'.join(layers)} takes it",
    )


def _for_some_pictures(key: str) -> Need:
    """Return the need of a setting of `visualize` that only some pictures use."""
    return Need(
        (key,),
        lambda config: pictures.uses(config.what, key),
        "no picture asked for uses it",
        f"what={'|'.join(pictures.pictures_with(key))} would",
    )
