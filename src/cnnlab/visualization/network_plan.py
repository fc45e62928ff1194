"""A network as plain values, and what the lecture draws of it: blocks, parameters, fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

from cnnlab.geometry import Window
from cnnlab.visualization.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, Picture, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("conv", "local", "pool", "subsample", "fc", "rbf")
COLORS = {
    "input": "#b5b5b5",
    "conv": BLUE,
    "local": SKY,
    "pool": GREEN,
    "subsample": GREEN,
    "fc": ORANGE,
    "rbf": PURPLE,
}
KINDS = {
    "input": "input",
    "conv": "convolution",
    "local": "locally connected",
    "pool": "pooling",
    "subsample": "subsampling",
    "fc": "fully connected",
    "rbf": "distances",
}


@dataclass(frozen=True)
class Block:
    """One layer of a network.

    output_size: [C, H, W] or [features]. field_pixels: its receptive field. window: None where
    nothing slides.
    """

    name: str
    role: str
    output_size: Sequence[int]
    num_parameters: int = 0
    num_multiply_adds: int = 0
    field_pixels: int = 1
    window: Window | None = None

    @property
    def what(self) -> str:
        """Return what the layer does in a few letters: '11x11, stride 4'."""
        if self.window is None:
            return KINDS[self.role].replace(" ", "\n")
        side = self.window.kernel
        stride = f", stride {self.window.stride}" if self.window.stride > 1 else ""
        return f"{side}x{side}{stride}"


@dataclass(frozen=True)
class Plan:
    """The layers of a network in order. input_size: [C, H, W]."""

    model: str
    input_size: Sequence[int]
    layers: Sequence[Block]

    @property
    def shown(self) -> list[Block]:
        """Return the layers that change sizes or have most of the weights."""
        return [layer for layer in self.layers if layer.role in SHOWN]

    @property
    def title(self) -> str:
        """Return the model and what it sees."""
        return f"{self.model} on {_size(self.input_size)}"


def draw_blocks(plan: Plan) -> Picture:
    """Draw the network as a row of boxes: as high as the maps, as thick as there are channels.

    Sides and channels are scaled by their logarithm, or the first map would be all there is to see.
    """
    blocks = [Block("input", "input", plan.input_size), *plan.shown]
    title = f"{plan.title} · its layers"
    figure = new_figure(max(5.0, 1.05 * len(blocks)), 3.5, title)
    axes = figure.subplots()

    left = 0.0
    for block in blocks:
        width = _draw_box(axes, block, left)
        left += max(width, 0.9) + 0.5

    axes.set_xlim(-0.4, max(left, 5.0))
    axes.set_ylim(-2.0, 2.2)
    axes.set_axis_off()
    _legend(axes, [block.role for block in blocks])

    caption = (
        "Each box is the output of a layer: channels x height x width, or so many units. Height "
        "and thickness grow with the logarithm of the side and of the channels."
    )
    facts = {block.name: list(block.output_size) for block in blocks}
    return Picture("blocks", title, caption, figure, facts)


def _draw_box(axes: "Axes", block: Block, left: float) -> float:
    """Draw one box in oblique projection, with its name and sizes; return its width."""
    from matplotlib.patches import Polygon

    channels, side = _box_sides(block)
    depth, low, high = 0.35 * side, -side / 2, side / 2
    front = [(left, low), (left + channels, low), (left + channels, high), (left, high)]
    top = [front[3], front[2], (front[2][0] + depth, high + depth), (left + depth, high + depth)]
    flank = [front[1], (front[1][0] + depth, low + depth), top[2], front[2]]
    for corners, strength in ((front, 0.75), (top, 0.45), (flank, 0.6)):
        axes.add_patch(
            Polygon(
                corners, facecolor=COLORS[block.role], alpha=strength, edgecolor="white", lw=0.8
            )
        )

    middle = left + (channels + depth) / 2
    axes.text(middle, high + depth + 0.12, block.name, ha="center", va="bottom", fontsize=9)
    below = f"{_size(block.output_size)}\n{block.what if block.role != 'input' else ''}"
    axes.text(middle, -1.25, below, ha="center", va="top", fontsize=8, linespacing=1.4)
    return channels + depth


def _box_sides(block: Block) -> tuple[float, float]:
    """Return thickness and height of a box; units without a place are a thin column."""
    if len(block.output_size) == 3:
        return 0.09 * log2(block.output_size[0] + 1), 0.22 * log2(block.output_size[1] + 1)
    return 0.12, 0.14 * log2(block.output_size[0] + 1)


def draw_parameters(plan: Plan) -> Picture:
    """Draw the parameters and the multiply-adds of each layer as bars: where the millions are."""
    layers = [layer for layer in plan.layers if layer.num_parameters or layer.num_multiply_adds]
    parameters = [layer.num_parameters for layer in layers]
    adds = [layer.num_multiply_adds for layer in layers]
    in_fc = sum(layer.num_parameters for layer in layers if layer.role == "fc")
    total = sum(parameters)
    convolved = [layer.num_multiply_adds for layer in layers if layer.role == "conv"]

    title = f"{plan.title} · {total:,} parameters, {in_fc / max(1, total):.1%} fully connected"
    figure = new_figure(9, 0.36 * len(layers) + 1.3, title)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, numbers, heading in (
        (left, parameters, "parameters"),
        (right, adds, "multiply-adds per image"),
    ):
        _bars(axes, layers, numbers)
        axes.set_title(f"{heading}: {sum(numbers):,}", fontsize=9)
    _legend(left, [layer.role for layer in layers])

    caption = (
        "Fully connected layers hold most of the parameters, convolutions do most of the work: a "
        "weight of a kernel is used at every position, one of a matrix once per image."
        if in_fc > total / 2 and sum(convolved) > sum(adds) / 2
        else "Parameters are what is stored, multiply-adds what is computed for one image."
    )
    facts = {
        "parameters": dict(zip((one.name for one in layers), parameters, strict=True)),
        "multiply_adds": dict(zip((one.name for one in layers), adds, strict=True)),
        "num_parameters": total,
        "fully_connected_share": in_fc / max(1, total),
    }
    return Picture("parameters", title, caption, figure, facts)


def _bars(axes: "Axes", layers: Sequence[Block], numbers: Sequence[int]) -> None:
    """Draw one bar per layer, the first on top, each with its number and share."""
    total = max(1, sum(numbers))
    places = range(len(layers))
    colors = [COLORS.get(layer.role, "#b5b5b5") for layer in layers]
    axes.barh(places, numbers, color=colors)
    for place, number in zip(places, numbers, strict=True):
        axes.text(number, place, f" {number:,}  ({number / total:.1%})", va="center", fontsize=8)

    axes.set_yticks(places, [layer.name for layer in layers], fontsize=8)
    axes.set_xlim(0, 1.55 * max(1, *numbers))
    axes.set_xticks([])
    axes.set_ylim(len(layers) - 0.4, -0.6)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def draw_fields(plan: Plan) -> Picture:
    """Draw how receptive fields grow: three small layers by their units, then the network's."""
    local = [layer for layer in plan.shown if layer.window is not None] or plan.shown
    title = f"receptive fields · {plan.title}"
    figure = new_figure(9.6, 3.9, title)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    _draw_cone(left)

    side = plan.input_size[-1]
    places = range(len(local))
    sizes = [layer.field_pixels for layer in local]
    right.barh(places, sizes, color=[COLORS[layer.role] for layer in local])
    for place, size in zip(places, sizes, strict=True):
        right.text(size, place, f" {size}", va="center", fontsize=8)
    right.axvline(side, color="black", lw=1, ls="--")
    right.text(side, -0.75, f"image: {side} ", ha="right", va="bottom", fontsize=8)

    right.set_yticks(places, [_told(layer) for layer in local], fontsize=8)
    right.set_xlim(0, 1.12 * max(side, *sizes, 1))
    right.set_ylim(len(local) - 0.4, -1.2)
    right.set_xlabel("receptive field, pixels", fontsize=8)
    right.tick_params(axis="x", labelsize=8)
    for edge in ("top", "right"):
        right.spines[edge].set_visible(False)

    caption = (
        "Left: units after one, two and three 3-wide layers depend on 3, 5 and 7 pixels. Right: "
        "the width that a unit of each layer depends on; after a stride every step counts more."
    )
    facts = {layer.name: layer.field_pixels for layer in local}
    return Picture("receptive_fields", title, caption, figure, facts)


def _draw_cone(axes: "Axes", width: int = 9) -> None:
    """Draw units of four layers, kernel 3, and on what the middle one of the last depends."""
    middle = width // 2
    for level in range(4):
        reach = 3 - level
        for unit in range(level, width - level):
            is_seen = abs(unit - middle) <= reach
            if level:
                for below in (unit - 1, unit, unit + 1):
                    shade, weight = (BLUE, 1.2) if is_seen else ("#d5d5d5", 0.6)
                    axes.plot([unit, below], [level, level - 1], color=shade, lw=weight, zorder=1)
            fill = BLUE if is_seen else "white"
            axes.plot(
                unit, level, "o", ms=11, mfc=fill, mec=BLUE if is_seen else "#9a9a9a", zorder=2
            )
        label = "image" if level == 0 else f"layer {level}"
        axes.text(-0.8, level, label, ha="right", va="center", fontsize=9)
        seen = 2 * reach + 1
        axes.text(width - 0.2, level, f"{seen}" if seen > 1 else "1 unit", va="center", fontsize=9)
    axes.set_xlim(-2.6, width + 2.2)
    axes.set_ylim(-0.6, 3.6)
    axes.set_axis_off()


def _legend(axes: "Axes", roles: Sequence[str]) -> None:
    """Name the colors of the kinds of layers, below the axes."""
    from matplotlib.patches import Patch

    kinds = {KINDS.get(role, role): COLORS.get(role, "#b5b5b5") for role in roles}
    handles = [Patch(color=color, label=kind) for kind, color in kinds.items()]
    figure = axes.figure
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False
    )


def _told(layer: Block) -> str:
    return f"{layer.name}, {layer.what}".replace("\n", " ")


def _size(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
