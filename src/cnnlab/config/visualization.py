"""Settings of `cnnlab visualize`."""

from dataclasses import dataclass

from cnnlab.config.data import DatasetConfig
from cnnlab.config.schema import setting
from cnnlab.config.surroundings import RuntimeConfig
from cnnlab.config.verbs import StoredDatasetConfig

PICTURE_NAMES = (
    "filters",
    "activations",
    "deconvnet",
    "top9",
    "occlusion",
    "equivariance",
    "invariance",
    "neighbors",
    "predictions",
    "evolution",
    "filter_evolution",
)
"""What there is to see; known here so that a typing error is found before torch is loaded."""


@dataclass(kw_only=True)
class VisualizeConfig:
    """`cnnlab visualize`."""

    checkpoint: str | None = setting("checkpoint, run folder, or latest")
    what: list[str] = setting("pictures to draw", choices=(*PICTURE_NAMES, "all"))
    dataset: DatasetConfig | StoredDatasetConfig
    split: str = setting("images to look at", choices=("test", "validation", "train"))
    images: list[str] = setting("picture files and folders to look at instead of the split's")
    indices: list[int] | None = setting(
        "images of the split to look at; null: the first of each class", at_least=0
    )
    num_images: int = setting("images to look at when indices is null", at_least=1, at_most=256)
    search_images: int | None = setting(
        "images of a set that top9, neighbors and evolution search; null: all", at_least=1
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
