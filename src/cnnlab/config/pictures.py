"""The tables of what `cnnlab visualize` makes: pictures of networks, the lecture's, and pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

from cnnlab.config.tables import Register, loaded
from cnnlab.errors import UsageError

IMAGES = ("images", "indices", "num_images")
UNITS = ("layer", "units", "num_units", "signal", "search_images")


@dataclass(frozen=True)
class PictureChoice:
    """One picture. draw: "module:function", or an own function; returns Pictures.

    It is called with (network, Probe) for a row of PICTURES, with a Plan for one of DRAWINGS, and
    with (Subject, folder) for one of PAGES, where it writes a file and returns its path.
    settings: those of `visualize` that this picture uses and another one does not.
    """

    draw: str | Callable[..., Any]
    settings: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        """Return the function that draws, imported now if a string names it."""
        return loaded(self.draw)

    @property
    def source(self) -> str | Callable[..., Any]:
        """Return what the row is made of, as it was given."""
        return self.draw


class Pictures(Register[PictureChoice]):
    """Pictures by name; an own one uses settings that `visualize` has."""

    def register(self, name: str, row: PictureChoice, **defaults: Any) -> None:
        """Add a picture of your own. Raises UsageError for a setting that no picture has."""
        if name in RESERVED:
            raise UsageError(f"what={name} is built in", hint="give your picture another name")
        if unknown := [key for key in row.settings if key not in SETTINGS]:
            raise UsageError(
                f"picture '{name}' asks for the setting '{unknown[0]}', which visualize lacks",
                hint=f"pictures use: {', '.join(SETTINGS)}",
            )
        super().register(name, row, **defaults)


PICTURES = Pictures(
    "picture",
    {
        "filters": PictureChoice("cnnlab.visualization.filters:draw_filters", ("layer", "units")),
        "activations": PictureChoice(
            "cnnlab.visualization.activations:draw_activations", (*IMAGES, "layer", "units")
        ),
        "deconvnet": PictureChoice(
            "cnnlab.visualization.projections:draw_projections",
            (*IMAGES, "layer", "units", "num_units", "signal"),
        ),
        "top9": PictureChoice("cnnlab.visualization.projections:draw_top9", UNITS),
        "occlusion": PictureChoice(
            "cnnlab.visualization.occlusion:draw_occlusion",
            (*IMAGES, "layer", "square_pixels", "square_stride"),
        ),
        "equivariance": PictureChoice(
            "cnnlab.visualization.invariance:draw_equivariance", (*IMAGES, "layer")
        ),
        "invariance": PictureChoice("cnnlab.visualization.invariance:draw_invariance", IMAGES),
        "neighbors": PictureChoice(
            "cnnlab.visualization.neighbors:draw_neighbors", (*IMAGES, "layer", "search_images")
        ),
        "predictions": PictureChoice("cnnlab.visualization.neighbors:draw_predictions", IMAGES),
        "rejection": PictureChoice(
            "cnnlab.visualization.rejection:draw_rejection", ("search_images",)
        ),
        "evolution": PictureChoice("cnnlab.visualization.evolution:draw_evolution", UNITS),
        "filter_evolution": PictureChoice(
            "cnnlab.visualization.filters:draw_filter_evolution", ("layer",)
        ),
    },
)
"""Name -> picture of a trained network; a name is a value of `what`, and `all` is all of these."""

DRAWINGS: dict[str, PictureChoice] = {
    "lecture": PictureChoice("cnnlab.visualization.lecture:draw_lecture", ("model",)),
}
"""Name -> drawings of the plan of a network, which need neither weights nor images."""

PAGES: dict[str, PictureChoice] = {
    "playground": PictureChoice("cnnlab.playground.page:write", (*IMAGES, "search_images")),
}
"""Name -> page of a trained network, with a program of its own; not in `all`."""

RESERVED = (*DRAWINGS, *PAGES, "all")


def rows() -> dict[str, PictureChoice]:
    """Return all that `what` can name at this moment, own pictures included, but `all`."""
    return {**PICTURES, **DRAWINGS, **PAGES}


SETTINGS = tuple(dict.fromkeys(key for row in rows().values() for key in row.settings))
"""Settings that only some pictures use."""


class Names(Sequence[str]):
    """The values of `what`: the names in the tables at this moment, own pictures included."""

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        return (*PICTURES, *RESERVED)[place]

    def __len__(self) -> int:
        return len(PICTURES) + len(RESERVED)


def pictures_with(setting: str) -> list[str]:
    """Return the names of the pictures that use a setting."""
    return [name for name, choice in rows().items() if setting in choice.settings]


def asked_for(what: list[str]) -> list[str]:
    """Return the names that `what` stands for: `all` for all pictures of a trained network."""
    others = [name for name in what if name not in PICTURES and name != "all"]
    return [*PICTURES, *others] if "all" in what else what


def of_trained(what: list[str]) -> list[str]:
    """Return what is asked for that shows a trained network."""
    return [name for name in asked_for(what) if name not in DRAWINGS]


def drawn(what: list[str]) -> list[str]:
    """Return the pictures and drawings asked for, whose files have a choice of formats."""
    return [name for name in asked_for(what) if name not in PAGES]


def uses(what: list[str], setting: str) -> bool:
    """Return whether one of the pictures asked for uses a setting."""
    return any(name in asked_for(what) for name in pictures_with(setting))
