"""Settings of `cnnlab visualize`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.checks import check_runtime, refuse_empty
from cnnlab.config.data import DatasetConfig, StoredDatasetConfig
from cnnlab.config.pictures import PICTURES
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse, setting
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class VisualizeConfig:
    """`cnnlab visualize`."""

    checkpoint: str | None = setting("checkpoint, run folder, or latest")
    what: list[str] = setting("pictures to draw", choices=(*PICTURES, "all"))
    dataset: DatasetConfig | StoredDatasetConfig
    split: str = setting("images to look at", choices=("test", "validation", "train"))
    images: list[str] = setting("picture files and folders to look at instead of the split's")
    indices: list[int] | None = setting(
        "images of the split to look at; null: the first of each class", at_least=0
    )
    num_images: int = setting("images to look at when indices is null", at_least=1, at_most=256)
    search_images: int | None = setting(
        "images of a set that top9, neighbours and evolution search; null: all", at_least=1
    )
    layer: str | None = setting("layer to look into; null: what suits the picture")
    units: list[int] | None = setting("units of the layer; null: the strongest", at_least=0)
    num_units: int = setting("units shown when units is null", at_least=1, at_most=64)
    signal: str = setting(
        "what comes back through a rectifier", choices=("deconvnet", "gradient", "guided")
    )
    output: str | None = setting("folder for the pictures; null: pictures/ in the run folder")
    formats: list[str] = setting("files of each picture", choices=("png", "svg"))
    runtime: RuntimeConfig
    batch_size: int = setting("images at once", at_least=1)
    plugins: list[str] = setting("Python modules that register models of your own")


def parse_visualize(plain: dict[str, Any]) -> VisualizeConfig:
    """Check and type what `cnnlab visualize` was given."""
    config = parse(VisualizeConfig, plain)
    check_runtime(config.runtime)
    _check_precision(config.runtime)
    refuse_empty(config.what, "what", "what=filters, what=[filters,top9] or what=all")
    refuse_empty(config.formats, "formats", "formats=png, formats=svg or both: formats=[png,svg]")
    if config.indices is not None:
        refuse_empty(config.indices, "indices", "indices=[0,5], or null for some of each class")
    if config.units is not None:
        refuse_empty(config.units, "units", "units=[0,5], or null for the strongest")
    return config


def _check_precision(runtime: RuntimeConfig) -> None:
    """Raise UsageError for a precision that pictures are not drawn in."""
    if runtime.precision == "bf16":
        raise UsageError(
            "runtime.precision=bf16 is not for pictures: they are projected back in float32",
            hint="runtime.precision=fp32, or tf32 on a GPU",
        )
