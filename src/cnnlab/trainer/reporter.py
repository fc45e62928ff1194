"""The figures and pictures of a run while it trains: terminal, metrics files and TensorBoard."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cnnlab import own_writers
from cnnlab.config import to_plain
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.evaluation.metrics import Tally
from cnnlab.own_writers import RunInfo
from cnnlab.run_folder import RunFolder
from cnnlab.tensorboard_writer import TensorboardWriter
from cnnlab.trainer import display
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.pictures import draw_while_training
from cnnlab.trainer.snapshot import Progress
from cnnlab.trainer.tensorboard import Tabs, hyperparameters
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.visualization.grid import positive_to_gray, tile
from cnnlab.writers import CsvWriter, JsonlWriter, Writers

NUM_PICTURES = 64
SEEN_PIXELS = 48


class Reporter:
    """Shows and writes the figures of a run; reads its parts, and changes nothing that trains."""

    def __init__(
        self, parts: Assembly, progress: Progress, folder: RunFolder, console: Console
    ) -> None:
        self.parts, self.progress, self.folder, self.console = parts, progress, folder, console
        step = progress.state.step

        writers: list[Callable[[], Any]] = [
            lambda: JsonlWriter(folder.metrics_file, from_step=step),
            lambda: CsvWriter(folder.path / "metrics.csv", from_step=step),
        ]
        if parts.config.logging.tensorboard:
            writers.append(lambda: TensorboardWriter(folder.tensorboard, from_step=step))
        run = RunInfo(folder.path, hyperparameters(to_plain(parts.config)), step)
        writers += own_writers.to_open(parts.config.writer, run)
        # the first process writes for all
        self.writers = Writers(writers if parts.peers.is_first else [], console.line)
        self.tabs = Tabs(parts, folder, self.writers, console.line)
        self.tabs.begin(step)

        self._started = self._training_since = time.monotonic()
        self._num_images = 0
        console.start_bar(parts.total_steps, step, self._description(step))

    def advance(self, state: TrainState, report: StepReport) -> None:
        """Count images and move the bar; called after every update."""
        self._num_images += report.num_images
        self.console.advance_bar(state.step, lambda: self._description(state.step))

    def step(self, report: StepReport) -> None:
        """Write the figures of one update; waits for the device."""
        figures = {
            "train/batch_loss": float(report.loss),
            "train/gradient_norm": float(report.gradient_norm),
            **self._rates(),
        }
        self.writers.scalars(self.progress.state.step, figures)

    def epoch(self, validation: dict[str, float]) -> None:
        """Show one line and write the figures of an epoch; `validation` may be empty."""
        state = self.progress.state
        epoch = state.step / self.parts.stream.steps_per_epoch
        seconds = time.monotonic() - self._training_since

        figures = {
            "train/loss": self.progress.running_loss.read(),
            **self._rates(),
            **{f"validation/{name}": value for name, value in validation.items()},
            "speed/images_per_second": self._num_images / seconds,
        }
        self.progress.figures.clear()
        self.progress.figures.update(figures)

        improved = bool(validation) and self.progress.best.improved
        epochs = self.parts.config.trainer.epochs
        self.console.line(display.epoch_line(epoch, epochs, figures, improved))
        self.writers.scalars(state.step, {"epoch": epoch, **figures})

        every = self.parts.config.logging.images_every_epochs
        if every is not None and (round(epoch) % every == 0 or round(epoch) == 1):
            self.pictures()
        self._training_since, self._num_images = time.monotonic(), 0

    def pictures(self) -> None:
        """Write an augmented batch, the first kernels and projections of a few images."""
        if not self.writers.take_images:  # those of another process than the first take nothing
            return

        step = self.progress.state.step
        images, _ = next(self.parts.batches(step))
        pictures = positive_to_gray(images[:NUM_PICTURES])
        self.writers.images(step, "input/augmented_batch", _sheet(pictures))
        draw_while_training(self.parts, self.writers.images, step)

    def test(self, tally: Tally, store: Store, chosen: str, counts: Tensor | None = None) -> None:
        """Show the test error, and write the test figures.

        chosen: a description of the network tested. counts: of PrecisionRecall, for TensorBoard.
        """
        views = self.parts.config.evaluation.name
        self.console.stop_bar()
        self.console.line()
        self.console.line(display.test_line(tally, store.name, views, chosen))
        figures = {"test/top1_error": tally.top1_error, "test/top5_error": tally.top5_error}
        self.writers.scalars(self.progress.state.step, figures | {"test/loss": tally.cross_entropy})
        self.tabs.end(self.progress, tally, counts)

    def took(self, test_seconds: float) -> None:
        """Show how long the run took, its report included, and the test alone."""
        seconds = self.folder.seconds() or time.monotonic() - self._started
        self.console.line(f"total {seconds:.0f} s (test {test_seconds:.1f} s)")

    def close(self) -> None:
        """Remove the bar and close the files."""
        self.console.stop_bar()
        self.writers.close()

    def _rates(self) -> dict[str, float]:
        """Return the learning rate, and that of each parameter group where `groups` has any."""
        groups = self.progress.state.optimizer.param_groups
        rates = {"train/learning_rate": float(groups[0]["lr"])}
        if self.parts.config.optimizer.groups:
            named = {str(group.get("name", i)): group for i, group in enumerate(groups)}
            rates |= {f"learning_rate/{name}": float(one["lr"]) for name, one in named.items()}
        return rates

    def _description(self, step: int) -> str:
        epoch = step / self.parts.stream.steps_per_epoch
        seconds = time.monotonic() - self._training_since
        speed = f" {self._num_images / seconds:,.0f} img/s" if seconds > 0 else ""
        return f"epoch {epoch:.1f}/{self.parts.config.trainer.epochs}{speed}"


def _sheet(pictures: Tensor) -> Tensor:
    """Tile images [N,C,h,w] in 0..1, eight per row, small ones enlarged: uint8 [C,H,W]."""
    zoom = max(1, -(-SEEN_PIXELS // pictures.shape[-1]))
    large = pictures.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    return (tile(large.cpu(), columns=8, gap_pixels=2) * 255).to(torch.uint8)
