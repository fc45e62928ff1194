"""What `schedule=range_test` found: a table, a picture, and the learning rate that it suggests."""

import csv
import io
from typing import Any

from cnnlab.console import Console
from cnnlab.files import atomic
from cnnlab.run_folder import RunFolder
from cnnlab.trainer.assemble import Assembly
from cnnlab.training.range_test import RangeTest, RateCurve, curve_of
from cnnlab.visualization import figures
from cnnlab.visualization.rate_chart import loss_against_rate
from cnnlab.writers import Writers

NAME = "range_test"
"""Of the files in the run folder, and of the picture in TensorBoard."""


def conclude(
    parts: Assembly, folder: RunFolder, console: Console, writers: Writers
) -> dict[str, Any]:
    """Write and show the curve of a finished range test; return what run.json says of it.

    A picture that cannot be drawn is only a warning.
    """
    test, base = parts.schedule, parts.config.optimizer.learning_rate
    assert isinstance(test, RangeTest)
    rates = [base * test.rate_at(step) for step in range(len(test.losses))]
    curve = curve_of(rates, test.losses, test.window)

    if parts.peers.is_first:
        atomic.write_bytes(folder.path / f"{NAME}.csv", _csv_of(curve).encode())
        title = f"{parts.config.model.name} on {parts.splits.train.name}, batches of "
        title += f"{parts.config.trainer.batch_size}, optimizer={parts.config.optimizer.name}"
        try:
            picture = loss_against_rate(NAME, title, curve.rates, curve.losses, curve.smoothed,
                                        curve.suggested)  # fmt: skip
            figures.save(picture, folder.path, ("png",))
            writers.images(len(test.losses), f"{NAME}/loss", figures.to_pixels(picture))
        except Exception as error:
            console.line(f"warning: no picture: {type(error).__name__}: {error}")

    console.line()
    for line in lines(curve, test.window):
        console.line(line)
    return {"suggested_rate": curve.suggested}


def lines(curve: RateCurve, window: int) -> list[str]:
    """Return what is printed of a curve: the suggestion and its rule, or why there is none."""
    if not curve.rates:
        return ["range test: the loss was not finite at the first rate; start lower"]
    tried = f"range test: {len(curve.rates)} rates from {curve.rates[0]:.2g} to "
    tried += f"{curve.rates[-1]:.2g}"
    if not curve.smoothed:
        return [f"{tried}; too few for a suggestion, {2 * window} or more give one"]
    if curve.suggested is None:
        return [f"{tried}; no suggestion: the loss never fell by more than it scatters"]

    rate, loss = min(curve.smoothed, key=lambda point: point[1])
    return [
        f"{tried}; the smoothed loss is smallest at {rate:.2g} ({loss:.3g}): train below that",
        f"suggested: optimizer.learning_rate={curve.suggested:.2g} "
        f"(where the loss, smoothed over {window} updates, falls fastest)",
    ]


def _csv_of(curve: RateCurve) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["step", "learning_rate", "loss"])
    writer.writerows(zip(range(len(curve.rates)), curve.rates, curve.losses, strict=True))
    return text.getvalue()
