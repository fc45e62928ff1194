"""The table of pictures that `cnnlab visualize` draws."""

from dataclasses import dataclass

IMAGES = ("images", "indices", "num_images")
UNITS = ("layer", "units", "num_units", "signal", "search_images")


@dataclass(frozen=True)
class PictureChoice:
    """One picture. draw: "module:function", called with (network, Probe), returns Pictures.

    settings: those of `visualize` that this picture uses and another one does not.
    """

    draw: str
    settings: tuple[str, ...]


PICTURES: dict[str, PictureChoice] = {
    "filters": PictureChoice("cnnlab.visualization.filters:draw_filters", ("layer", "units")),
    "activations": PictureChoice(
        "cnnlab.visualization.activations:draw_activations", (*IMAGES, "layer", "units")
    ),
    "deconvnet": PictureChoice(
        "cnnlab.visualization.projections:draw_projections",
        (*IMAGES, "layer", "units", "num_units", "signal"),
    ),
    "top9": PictureChoice("cnnlab.visualization.projections:draw_top9", UNITS),
    "occlusion": PictureChoice("cnnlab.visualization.occlusion:draw_occlusion", IMAGES),
    "equivariance": PictureChoice(
        "cnnlab.visualization.invariance:draw_equivariance", (*IMAGES, "layer")
    ),
    "invariance": PictureChoice("cnnlab.visualization.invariance:draw_invariance", IMAGES),
    "neighbors": PictureChoice(
        "cnnlab.visualization.neighbors:draw_neighbors", (*IMAGES, "layer", "search_images")
    ),
    "predictions": PictureChoice("cnnlab.visualization.neighbors:draw_predictions", IMAGES),
    "evolution": PictureChoice("cnnlab.visualization.evolution:draw_evolution", UNITS),
    "filter_evolution": PictureChoice(
        "cnnlab.visualization.filters:draw_filter_evolution", ("layer",)
    ),
}
"""Name -> picture; a name is a value of `what`."""

SETTINGS = tuple(dict.fromkeys(key for choice in PICTURES.values() for key in choice.settings))
"""Settings that only some pictures use."""


def pictures_with(setting: str) -> list[str]:
    """Return the names of the pictures that use a setting."""
    return [name for name, choice in PICTURES.items() if setting in choice.settings]


def uses(what: list[str], setting: str) -> bool:
    """Return whether one of the pictures asked for uses a setting."""
    return "all" in what or any(name in what for name in pictures_with(setting))
