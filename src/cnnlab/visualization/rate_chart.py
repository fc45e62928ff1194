"""The chart of a learning rate range test: loss against rate, on a logarithmic axis."""

from collections.abc import Sequence

from cnnlab.visualization.figures import BLUE, GREEN, ORANGE, Picture, new_figure

HEADROOM = 1.5
"""The highest loss that is shown, as a multiple of the first: an explosion would hide the rest."""


def loss_against_rate(
    name: str,
    title: str,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[tuple[float, float]],
    suggested: float | None,
) -> Picture:
    """Draw the loss of every update, the smoothed loss and the suggested rate, if there is one.

    rates: ascending, above 0. losses: one for each. smoothed: (rate, loss), ascending.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = new_figure(6.0, 3.8, f"learning rate range test: {title}")
    axes = figure.add_subplot()
    axes.plot(rates, losses, color=BLUE, alpha=0.35, linewidth=0.8, label="each update")
    if smoothed:
        axes.plot(*zip(*smoothed, strict=True), color=BLUE, linewidth=2, label="smoothed")
    if suggested is not None:
        label = f"suggested: {suggested:.2g}"
        axes.axvline(suggested, color=ORANGE, linestyle="--", label=label)
        best_rate, best_loss = min(smoothed, key=lambda point: point[1])
        axes.plot([best_rate], [best_loss], "v", color=GREEN, label=f"smallest: {best_loss:.2g}")

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=12))  # every decade, up to a dozen
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if losses:
        axes.set_ylim(0, HEADROOM * max(losses[0], min(losses)))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)

    caption = (
        "Loss of each update against its learning rate, which grows exponentially over the run. "
        "Suggested is the rate at which the smoothed loss falls fastest, before its minimum."
    )
    facts = {"rates": list(rates), "losses": list(losses), "suggested": suggested}
    return Picture(name, title, caption, figure, facts)
