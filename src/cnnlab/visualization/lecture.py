"""The drawings of the lecture: made of formulas and of a network's plan, without any weights."""

import math
from collections.abc import Callable

from cnnlab.visualization.figures import BLUE, ORANGE, Picture, new_figure
from cnnlab.visualization.lecture_windows import draw_windows
from cnnlab.visualization.network_plan import Plan, draw_blocks, draw_fields, draw_parameters

AMPLITUDE, SLOPE = 1.7159, 2 / 3
"""Of the 1998 network's tanh. Source: LeCun et al. 1998, appendix A."""

Function = Callable[[float], float]


def draw_lecture(plan: Plan) -> list[Picture]:
    """Draw everything, in the order of the lecture; the last three are of the given network."""
    return [
        draw_activation_functions(),
        *draw_windows(),
        draw_fields(plan),
        draw_blocks(plan),
        draw_parameters(plan),
    ]


def sigmoid(x: float) -> float:
    """Return 1/(1 + e^-x)."""
    return 1 / (1 + math.exp(-x))


def scaled_tanh(x: float) -> float:
    """Return A tanh(S x), the squashing function of 1998: f(1) = 1."""
    return AMPLITUDE * math.tanh(SLOPE * x)


def relu(x: float) -> float:
    """Return max(0, x)."""
    return max(0.0, x)


FUNCTIONS: dict[str, tuple[str, Function, Function]] = {
    "sigmoid": ("1/(1 + e\u207b\u02e3)", sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": ("tanh(x)", math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "tanh of 1998": (
        "1.7159 tanh(2x/3)",
        scaled_tanh,
        lambda x: AMPLITUDE * SLOPE * (1 - math.tanh(SLOPE * x) ** 2),
    ),
    "ReLU": ("max(0, x)", relu, lambda x: float(x > 0)),
}
"""Name -> formula, function, derivative; ReLU's at 0 is 0, as in torch."""


def draw_activation_functions() -> Picture:
    """Draw each activation function and its derivative between -4 and 4."""
    title = "activation functions and their derivatives"
    figure = new_figure(9, 3.1, title)
    panels = figure.subplots(1, len(FUNCTIONS), sharey=True)
    xs = [step / 20 for step in range(-80, 81)]

    facts: dict[str, object] = {"x": xs}
    for axes, (name, (formula, function, slope)) in zip(panels, FUNCTIONS.items(), strict=True):
        values, slopes = [function(x) for x in xs], [slope(x) for x in xs]
        axes.axhline(0, color="#b5b5b5", lw=0.8)
        axes.axvline(0, color="#b5b5b5", lw=0.8)
        axes.plot(xs, values, color=BLUE, lw=1.8, label="function")
        axes.plot(xs, slopes, color=ORANGE, lw=1.5, ls="--", label="derivative")
        axes.set_title(f"{name}: {formula}", fontsize=9)
        axes.set_ylim(-1.9, 2.6)
        axes.tick_params(labelsize=8)
        facts |= {name: values, f"{name}, derivative": slopes}

    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    caption = (
        "Sigmoid and tanh saturate: far from zero their derivative vanishes, and learning with it "
        "(sigmoid's is at most 0.25). ReLU's stays 1 for every positive input."
    )
    return Picture("activation_functions", title, caption, figure, facts)
