"""Training as `cnnlab train` runs it, and its step in a bare loop."""

from collections.abc import Mapping

import torch
from head import scratch_run
from torch.nn import functional as F
from work import Advance, clock

from cnnlab.config import Launch
from cnnlab.console import Console
from cnnlab.cpu import waiting
from cnnlab.runtime import forward_precision
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.reporter import Reporter
from cnnlab.trainer.run import claim_folder
from cnnlab.trainer.snapshot import Progress
from cnnlab.trainer.stalls import StallWatch
from cnnlab.trainer.trainer import Trainer
from cnnlab.training.loop import StepReport, TrainState, fit

CHOOSING, BARE = "cnnlab", "same step, bare"
"""The rows of `cnnlab train` as it comes, with the threads and the waiting that it chooses, and of
its step without the framework."""


def rows(num_threads: int, device: torch.device) -> list[str]:
    """Return the names of the rows of the whole training; with several threads there are two."""
    if num_threads == 1 or device.type != "cpu":
        return [CHOOSING]
    return [CHOOSING, f"cnnlab, runtime.num_threads={num_threads}"]


def chooses_threads(row: str, num_threads: int, device: torch.device) -> bool:
    """Return whether the loop of a row chooses its threads and its waiting itself."""
    return row in (CHOOSING, BARE) and len(rows(num_threads, device)) > 1


def variables_of(row: str, num_threads: int, device: torch.device) -> Mapping[str, str]:
    """Return what the command sets in its environment before torch is loaded."""
    return waiting.SHARED if chooses_threads(row, num_threads, device) else {}


def whole_training(parts: Assembly) -> Advance:
    """Return the loop with every hook of a run: figures, files, TensorBoard, guard, signals.

    Validation and checkpoints come at the end of an epoch, after the timed steps.
    """
    launch = Launch(command="benchmark", folder=str(scratch_run("benchmark")))
    folder = claim_folder(parts.config, launch)
    console = Console(progress=False)
    progress = Progress.at_start(parts)
    reporter = Reporter(parts, progress, folder, console)
    stalls = StallWatch(parts, folder, console)
    trainer = Trainer(parts, progress, folder, reporter, stalls)

    losses: list[torch.Tensor] = []

    def note(state: TrainState, report: StepReport) -> None:
        losses.append(report.loss)

    hooks = [*trainer.hooks(lambda state: None), note]
    batches, rate_at = parts.batches(), parts.schedule.rate_at

    def advance(num_steps: int) -> tuple[float, list[float]]:
        losses.clear()
        started = clock(parts.device)
        fit(trainer.state, batches, parts.step, rate_at, hooks, trainer.state.step + num_steps)
        return clock(parts.device) - started, [float(loss) for loss in losses]

    return advance


def bare_step(parts: Assembly) -> Advance:
    """Return a loop over the same batches, network and update, with nothing around them."""
    batches, network, optimizer = parts.batches(), parts.network, parts.optimizer
    precision = forward_precision(parts.config.runtime.precision, parts.device)
    network.train()
    # A bare loop has no schedule: set the constant rate once, outside of the timed steps.
    for group in optimizer.param_groups:
        group["lr"] = group["base_rate"] * parts.schedule.rate_at(0)

    def advance(num_steps: int) -> tuple[float, list[float]]:
        losses, started = [], clock(parts.device)
        for _ in range(num_steps):
            images, labels = next(batches)
            optimizer.zero_grad()
            with precision():
                loss = F.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return clock(parts.device) - started, [float(loss) for loss in losses]

    return advance
