"""Occlusion: a gray square covers each part of an image; what the network answers meanwhile."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Network
from cnnlab.numerics import checked_probabilities
from cnnlab.visualization import grid
from cnnlab.visualization.deconvnet import project
from cnnlab.visualization.figures import HEAT_MAP, ORANGE, Picture, new_figure, outline, show
from cnnlab.visualization.layer_access import each_layer, flatten_positions
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.probe import Probe, in_parts
from cnnlab.visualization.projections import chosen_layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES = 6
GRAY_LEVEL = 127
HEADINGS = ("image", "its strongest map", "activity of that map", "probability", "predicted class")
MOST_NAMED = 6
"""Predicted classes that are named below a panel."""


@dataclass(frozen=True)
class Square:
    """The gray square: its side, and the step from one place to the next, in pixels."""

    side: int
    stride: int


@dataclass(frozen=True)
class OcclusionMaps:
    """What the network answers with the square at each place, [P,P] each.

    probability: of the image's class. activity: of the map of `unit`, the strongest of its layer on
    the uncovered image; the sum of its positive values, as after a rectifier. predicted: the most
    probable class, int64.
    """

    unit: int
    probability: Tensor
    activity: Tensor
    predicted: Tensor


def square_of(probe: Probe) -> Square:
    """Return the square asked for; by default a fifth of the image, at 32 places per side."""
    side = probe.size_pixels
    return Square(
        probe.square_pixels or max(2, side // 5), probe.square_stride or max(1, side // 32)
    )


@torch.no_grad()
def occlusion_maps(
    model: Network, probe: Probe, image: Tensor, label: int, square: Square, layer: str
) -> OcclusionMaps:
    """Cover the image, uint8 [C,S,S], at each place and run it through the network.

    Place (i,j) covers the pixels around (i,j) x stride, clipped at the border. Runs batches of
    probe.batch_size covered images. Source: Zeiler & Fergus 2014, section 4.2, figure 7.
    """
    centers = torch.arange(0, image.shape[-1], square.stride)
    places = torch.cartesian_prod(centers, centers)

    chances, activities, answers = [], [], []
    with eval_mode(model):
        still, _ = _at_layer(model, probe.normalize(image[None]), layer)
        unit = int(still[0].argmax())

        for part in in_parts(len(places), probe.batch_size):
            covered = cover(image, places[part].to(image.device), square.side)
            activity, scores = _at_layer(model, probe.normalize(covered), layer)
            probabilities = checked_probabilities(scores)
            chances.append(probabilities[:, label])
            answers.append(probabilities.argmax(1))
            activities.append(activity[:, unit])

    shape = (len(centers), len(centers))
    maps = (torch.cat(parts).unflatten(0, shape) for parts in (chances, activities, answers))
    return OcclusionMaps(unit, *maps)


def _at_layer(model: Network, pixels: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Return the summed positive values of each map of `layer`, [N,K], and the scores."""
    activity, scores = pixels, pixels
    for one, maps in each_layer(model, pixels):
        scores = maps
        if one.name == layer:
            activity = flatten_positions(maps).clamp_min(0).sum(2)
    return activity, scores


def cover(image: Tensor, centers: Tensor, size: int, level: int = GRAY_LEVEL) -> Tensor:
    """Return copies of the image [C,S,S] with a gray square around each center: [P,C,S,S]."""
    span = torch.arange(image.shape[-1], device=image.device)
    low = centers - size // 2
    rows = (span >= low[:, :1]) & (span < low[:, :1] + size)  # [P,S]
    columns = (span >= low[:, 1:]) & (span < low[:, 1:] + size)
    square = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(square, torch.full_like(image, level), image)


def draw_occlusion(model: Network, probe: Probe) -> list[Picture]:
    """Draw each image, its strongest map's projection and activity, probability, and answers.

    The class is the true one, or the predicted one if unknown. The map is one of the chosen layer,
    by default of the deepest whose units see patches.
    """
    images, square, layer = probe.images[:MOST_IMAGES], square_of(probe), chosen_layer(model, probe)
    with torch.no_grad(), eval_mode(model):
        probabilities = checked_probabilities(model(probe.normalize(images)))
    labels = probabilities.argmax(1) if probe.labels is None else probe.labels[: len(images)]

    title = probe.title("occlusion")
    figure = new_figure(9.6, 1.85 * len(images) + 0.7, title)
    axes = figure.subplots(len(images), len(HEADINGS), squeeze=False)
    found = []
    for n, label in enumerate(labels.tolist()):
        maps = occlusion_maps(model, probe, images[n], label, square, layer)
        found.append(maps)
        projected = _projection(model, probe, images[n], layer, maps.unit)
        _draw_row(axes[n], probe, images[n], maps, projected)
        _label(axes[n, 0], f"{probe.class_name(label)}: {float(probabilities[n, label]):.0%}")
    facts = {"layer": layer, **_facts(square, found)}
    for one, heading in zip(axes[0], HEADINGS, strict=True):
        one.set_title(f"{heading}\n{one.get_title()}".strip(), fontsize=8, pad=3)

    return [Picture("occlusion", title, _caption(square, layer), figure, facts)]


def _projection(model: Network, probe: Probe, image: Tensor, layer: str, unit: int) -> Tensor:
    """Return the deconvnet's projection of the map at its strongest position: [C,S,S]."""
    pixels = probe.normalize(image[None])
    units = torch.tensor([unit], device=pixels.device)
    return project(model, pixels, layer, units)[0]


def _draw_row(
    axes: "list[Axes]", probe: Probe, image: Tensor, maps: OcclusionMaps, projected: Tensor
) -> None:
    """Draw the five panels of one image."""
    square, side = square_of(probe), image.shape[-1]
    show(axes[0], grid.pixels_to_unit(image))
    corner = (side - square.side) // 2
    outline(axes[0], corner, corner, square.side, ORANGE, 1.2)

    show(axes[1], grid.signed_to_gray(projected[None])[0], f"map {maps.unit}")
    show(axes[2], maps.activity.float(), cmap=HEAT_MAP, vmin=None, vmax=None)
    show(axes[3], maps.probability.float(), cmap=HEAT_MAP)
    _bar(axes[2])
    _bar(axes[3])
    _draw_answers(axes[4], probe, maps.predicted)


def _bar(axes: "Axes") -> None:
    """Draw the color bar of a map."""
    figure = axes.figure
    bar = figure.colorbar(axes.images[0], ax=axes, shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=6)


def _draw_answers(axes: "Axes", probe: Probe, predicted: Tensor) -> None:
    """Draw the predicted classes in one color each, the most frequent first, with their names."""
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    classes, counts = predicted.cpu().unique(return_counts=True)
    order = classes[counts.argsort(descending=True, stable=True)].tolist()
    rank = torch.zeros(max(order) + 1, dtype=torch.int64)
    rank[order] = torch.arange(len(order)).clamp_max(9)

    colors = colormaps["tab10"]
    show(axes, rank[predicted.cpu()].float(), cmap=colors, vmin=-0.5, vmax=9.5)
    handles = [
        Patch(color=colors(place), label=f" {probe.class_name(one)}")
        for place, one in enumerate(order[:MOST_NAMED])
    ]
    axes.legend(
        handles=handles, fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False,
        handlelength=0.8, handletextpad=0.3,
    )  # fmt: skip


def _label(axes: "Axes", text: str) -> None:
    axes.text(0.5, -0.04, text, ha="center", va="top", fontsize=8, transform=axes.transAxes)


def _caption(square: Square, layer: str) -> str:
    return (
        f"A gray square of {square.side} pixels (outlined) is centered at every place, "
        f"{square.stride} pixels apart. From the left: the image; the map of {layer} that it "
        "excites most, projected to the pixels; that map's summed activity, the probability of "
        "the class, and the most probable class, for each place of the square. Dark where the "
        "activity or the probability depends on what is covered."
    )


def _facts(square: Square, found: list[OcclusionMaps]) -> dict[str, object]:
    return {
        "square_pixels": square.side,
        "square_stride": square.stride,
        "map": [maps.unit for maps in found],
        "probability": [plain(maps.probability) for maps in found],
        "activity": [plain(maps.activity) for maps in found],
        "predicted": [plain(maps.predicted) for maps in found],
    }
