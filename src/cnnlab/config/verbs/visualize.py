"""Settings of `cnnlab visualize`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MANY, MOST_PIXELS
from cnnlab.config.checks import check_runtime, refuse_empty
from cnnlab.config.data import DatasetConfig, StoredDatasetConfig
from cnnlab.config.ema import stored_weights
from cnnlab.config.models import ModelConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.pictures import Names
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse, setting
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class VisualizeConfig:
    """`cnnlab visualize`."""

    checkpoint: str | None = setting(
        "checkpoint, run folder or latest; null: for what=lecture alone"
    )
    which_weights: str | None = stored_weights()
    what: list[str] = setting(
        "pictures to draw; lecture: its drawings, which need no checkpoint; playground: a page "
        "in which you draw and the network answers; all: all others",
        choices=Names(),
    )
    model: ModelConfig
    dataset: DatasetConfig | StoredDatasetConfig
    split: str = setting("split to take images from", choices=("test", "validation", "train"))
    images: list[str] = setting("image files and folders to use instead of images of the split")
    indices: list[int] | None = setting(
        "indices of images in the split; null: the first of each class",
        at_least=0,
        at_most=MANY,
    )
    num_images: int = setting("number of images if indices is null", at_least=1, at_most=256)
    search_images: int | None = setting(
        "images searched by top9, neighbors, rejection, evolution and playground; null: all",
        at_least=1,
        at_most=MANY,
    )
    layer: str | None = setting("layer to visualize; null: chosen per picture")
    units: list[int] | None = setting(
        "units of the layer; null: the most active", at_least=0, at_most=MANY
    )
    num_units: int = setting("number of units if units is null", at_least=1, at_most=64)
    signal: str = setting("backward rule at ReLUs", choices=("deconvnet", "gradient", "guided"))
    square_pixels: int | None = setting(
        "side of the square that occlusion moves over an image; null: a fifth of the image",
        at_least=1,
        at_most=MOST_PIXELS,
    )
    square_stride: int | None = setting(
        "pixels from one place of that square to the next; null: 32 places per side",
        at_least=1,
        at_most=MOST_PIXELS,
    )
    output: str | None = setting(
        "folder for the pictures; null: pictures/ in the run folder; without one outputs/lecture"
    )
    formats: list[str] = setting(
        "files of each picture: drawn as png or svg, its numbers as json or csv",
        choices=("png", "svg", "json", "csv"),
    )
    runtime: RuntimeConfig
    batch_size: int = setting("images per batch", at_least=1, at_most=MANY)
    plugins: list[str] = setting(OWN_MODULES)


def parse_visualize(plain: dict[str, Any]) -> VisualizeConfig:
    """Check and type what `cnnlab visualize` was given."""
    config = parse(VisualizeConfig, plain)
    check_runtime(config.runtime)
    _check_precision(config.runtime)

    refuse_empty(config.what, "what", "what=filters, what=[filters,top9] or what=all")
    refuse_empty(config.formats, "formats", "formats=png, or several: formats=[png,svg,json,csv]")
    if config.indices is not None:
        refuse_empty(config.indices, "indices", "indices=[0,5], or null for some of each class")
    if config.units is not None:
        refuse_empty(config.units, "units", "units=[0,5], or null for the most active")
    return config


def _check_precision(runtime: RuntimeConfig) -> None:
    """Raise UsageError for a precision that the projections do not support."""
    if runtime.precision == "bf16":
        raise UsageError(
            "visualize does not support runtime.precision=bf16: projections need float32",
            hint="runtime.precision=fp32, or tf32 on a GPU",
        )
