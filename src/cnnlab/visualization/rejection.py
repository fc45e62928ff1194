"""The rejection curve: the error of the images that are left when the least certain are refused."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Network
from cnnlab.numerics import checked_probabilities
from cnnlab.visualization.axes import in_percent
from cnnlab.visualization.figures import BLACK, BLUE, ORANGE, Picture, new_figure
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.probe import ImageSet, Probe, needed_set

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = tuple(number / 200 for number in range(101))
"""Shares of the images that are rejected, 0 to one half."""


def errors_of_rest(certainties: Tensor, is_wrong: Tensor, shares: Sequence[float]) -> list[float]:
    """Return for each share the error of the images that are left, 0..1.

    certainties [N], is_wrong [N] 0 or 1. Of N images the round(share * N) least certain ones are
    rejected, of equally certain ones the first; a share below one that leaves none keeps one.
    """
    order = certainties.argsort(stable=True)
    wrong = is_wrong[order].to(torch.float64).cpu()
    counts = (min(round(share * len(wrong)), len(wrong) - 1) for share in shares)
    return [float(wrong[count:].mean()) for count in counts]


def draw_rejection(model: Network, probe: Probe) -> list[Picture]:
    """Draw the error of the rest against the share of rejected images of the whole set.

    Certainty is the probability of the predicted class. Beside it what an order that knows the
    wrong images would give, and none at all. Source: LeCun et al. 1998, section III.C and figure 9,
    which have the share to be rejected for an error of 0.5 % alone.
    """
    images = needed_set(probe.image_set, "rejection", "test")
    certainties, is_wrong = _answers(model, probe, images)
    found = {
        "error": errors_of_rest(certainties, is_wrong, SHARES),
        "error_if_wrong_first": errors_of_rest(1 - is_wrong, is_wrong, SHARES),
    }

    title = probe.title("rejection of the least certain")
    figure = new_figure(4.8, 3.6, title)
    _draw_lines(figure.add_subplot(), found["error"], found["error_if_wrong_first"])

    facts = {
        "num_images": images.num_images,
        "rejected": list(SHARES),
        **found,
        "rejected_below": plain(_thresholds(certainties)),
    }
    caption = (
        f"Of {images.num_images:,} images the share on the x axis is rejected, those whose "
        "predicted class is least probable; the line is the error of the others."
    )
    return [Picture("rejection", title, caption, figure, facts, is_plot=True)]


def _draw_lines(axes: "Axes", errors: list[float], least: list[float]) -> None:
    """Draw the curve between what no order and the best order would give."""
    axes.axhline(errors[0], color=BLACK, linewidth=1, linestyle="--", label="at random")
    axes.plot(SHARES, errors, color=BLUE, label="the least certain first")
    axes.plot(SHARES, least, color=ORANGE, linestyle=":", label="the wrong ones first")

    in_percent(axes.xaxis)
    in_percent(axes.yaxis)
    axes.set_xlabel("rejected images")
    axes.set_ylabel("error of the others")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


@torch.no_grad()
def _answers(model: Network, probe: Probe, images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return the probability of the predicted class and whether it is wrong (0, 1), [N] each."""
    certainties, wrong = [], []
    with eval_mode(model):
        for batch, labels in images.batches():
            best = checked_probabilities(model(probe.normalize(batch))).max(1)
            certainties.append(best.values)
            wrong.append((best.indices != labels).to(torch.int64))
    return torch.cat(certainties).cpu(), torch.cat(wrong).cpu()


def _thresholds(certainties: Tensor) -> Tensor:
    """Return the least probability that is accepted at each share, [len(SHARES)]."""
    ordered = certainties.sort().values
    last = len(ordered) - 1
    return ordered[[min(round(share * len(ordered)), last) for share in SHARES]]
