"""`cnnlab train`: one run from its config to its test error, in one folder that explains itself."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from cnnlab import checkpoint, interrupts, run_folder
from cnnlab.app import display
from cnnlab.app.assemble import Assembly, assemble
from cnnlab.app.figures import Reporter
from cnnlab.app.snapshot import Progress, document_of, restore, restore_weights, tensors_of
from cnnlab.config import Launch, TrainConfig, to_plain
from cnnlab.console import Console
from cnnlab.errors import Interrupted
from cnnlab.run_folder import RunFolder, provenance
from cnnlab.runtime import configure, describe_device, select_device
from cnnlab.training.hooks import (
    Best,
    EarlyStop,
    Every,
    EveryMinutes,
    Listener,
    RunningLoss,
    Validate,
    drop_rate,
)
from cnnlab.training.loop import Hook, StepReport, TrainState, fit


def run(config: TrainConfig, launch: Launch) -> int:
    """Train as `config` says, or continue the run it resumes; return the exit code."""
    device = select_device(config.runtime.device)
    configure(
        device,
        precision=config.runtime.precision,
        num_threads=config.runtime.num_threads,
        deterministic=config.runtime.deterministic,
    )
    console = Console(progress=config.logging.progress)
    with contextlib.closing(console), interrupts.watching():
        parts = assemble(config, device)
        folder, start = open_folder(config, launch, console)
        if start is not None and _finished(folder, parts):
            console.line(f"this run is complete: {folder.path}; nothing was changed")
            return 0
        launch.log = str(folder.log_file)
        console.log_to(folder.log_file)
        with recorded(folder):
            Training(parts, folder, console, launch).run(start)
    return 0


def open_folder(
    config: TrainConfig, launch: Launch, console: Console
) -> tuple[RunFolder, Path | None]:
    """Claim a new run folder, or lock the one to resume; return it and the checkpoint to go from.

    Raises BusyError when another process writes there or the named folder exists.
    """
    if config.resume is not None:
        folder, start = run_folder.resume_point(config.resume, console.line)
        folder.lock()
        return folder, start
    name = f"{config.model.name}_{config.dataset.name}"
    exact = launch.folder
    if launch.sweep_folder is not None:
        exact = str(Path(launch.sweep_folder) / f"{launch.job}_{name}")
    folder = run_folder.claim(name, exact=exact)
    folder.write_config(to_plain(config))
    return folder, None


@contextlib.contextmanager
def recorded(folder: RunFolder) -> Iterator[None]:
    """Write into run.json how the block ended, and let go of the folder."""
    try:
        yield
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(Exception):  # a full disk must not hide the first error
            folder.update_status(status=status, ended=run_folder.now(), error=str(error))
        raise
    finally:
        folder.release()


class Training:
    """One run: its parts, its progress, and where both are shown and saved."""

    def __init__(
        self, parts: Assembly, folder: RunFolder, console: Console, launch: Launch
    ) -> None:
        self.parts, self.folder, self.console, self.launch = parts, folder, console, launch
        self.progress = Progress(
            TrainState(parts.network, parts.optimizer), RunningLoss(parts.device), Best(), {}
        )
        self.state = self.progress.state

    def run(self, start: Path | None) -> None:
        """Train from `start` (None: from scratch) to the end and test; raise Interrupted if asked.

        The test images are looked at once, after everything was chosen on validation images.
        """
        if start is not None:
            restore(start, self.parts, self.progress)
            self.folder.set_aside_after(self.state.step)
        self._begin(start)
        self.reporter = Reporter(self.parts, self.progress, self.folder, self.console)
        try:
            batches = self.parts.batches(self.state.step)
            rate_at = self.parts.schedule.rate_at
            fit(
                self.state, batches, self.parts.step, rate_at, self._hooks(), self.parts.total_steps
            )
            self.save(self.state)
            self._leave_if_asked()
            self._test()
        finally:
            self.reporter.close()

    def _begin(self, start: Path | None) -> None:
        display.header(self.console, self.parts, self.folder, self.launch)
        if start is not None:
            self.console.line(f"continuing after step {self.state.step} from {start}")
        self.folder.update_status(
            status="running",
            command=self.launch.command,
            model=self.parts.config.model.name,
            dataset=self.parts.config.dataset.name,
            seed=self.parts.config.seed,
            device=describe_device(self.parts.device),
            residency=self.parts.stream.residency,
            data_digest=self.parts.splits.train.digest,
            **provenance.describe(),
        )

    def _hooks(self) -> list[Hook]:
        """Return what happens after each update, in this order."""
        trainer, saving = self.parts.config.trainer, self.parts.config.saving
        epoch_steps, last = self.parts.stream.steps_per_epoch, self.parts.total_steps
        hooks: list[Hook] = [
            self.progress.running_loss,
            self.reporter.advance,
            Every(trainer.log_every_steps, self._log),
            Every(trainer.validate_every_epochs * epoch_steps, self._validate(), last_step=last),
        ]
        if saving.every_steps:
            hooks.append(Every(saving.every_steps, self._save))
        if saving.every_epochs:
            hooks.append(Every(saving.every_epochs * epoch_steps, self._save))
        if saving.every_minutes:
            hooks.append(EveryMinutes(saving.every_minutes, self._save))
        hooks.append(self._stop_if_asked)
        return hooks

    def _validate(self) -> Hook:
        """Return the validation with everything that follows from it; without images, a report."""
        store = self.parts.splits.validation
        if store is None:
            return lambda state, report: self._validated(state, {})
        batches = self.parts.in_order(store)

        def measure(_: object) -> dict[str, float]:
            tally = self.parts.judge(batches, "center")
            return {
                "top1_error": tally.top1_error,
                "top5_error": tally.top5_error,
                "loss": tally.cross_entropy,
            }

        best, trainer = self.progress.best, self.parts.config.trainer
        listeners: list[Listener] = [best, drop_rate(self.parts.schedule)]
        if trainer.early_stop_epochs is not None:
            patience = trainer.early_stop_epochs * self.parts.stream.steps_per_epoch
            listeners.append(EarlyStop(best, patience))
        return Validate(measure, [*listeners, self._validated])

    def _validated(self, state: TrainState, validation: dict[str, float]) -> None:
        self.parts.latch.check(state)
        self.reporter.epoch(validation)
        if validation and self.progress.best.improved:
            self.save(state)
            self.folder.mark(state.step, "best")

    def _log(self, state: TrainState, report: StepReport) -> None:
        self.parts.latch.check(state)
        self.reporter.step(report)

    def _save(self, state: TrainState, report: StepReport) -> None:
        self.save(state)

    def save(self, state: TrainState) -> None:
        """Write the checkpoint of this step unless it is there, and prune the oldest."""
        self.parts.latch.check(state)
        path = self.folder.checkpoint_file(state.step)
        if not path.exists():
            tensors = tensors_of(self.parts, self.progress)
            checkpoint.write(path, tensors, document_of(self.parts, self.progress))
        self.folder.mark(state.step, "last")
        self.folder.prune(self.parts.config.saving.keep)

    def _stop_if_asked(self, state: TrainState, report: StepReport) -> None:
        if interrupts.requested() is not None:
            state.stop_reason = "interrupted"

    def _leave_if_asked(self) -> None:
        if (number := interrupts.requested()) is None:
            return
        epoch_steps = self.parts.stream.steps_per_epoch
        message = (
            f"stopped after step {self.state.step} (epoch {self.state.step / epoch_steps:.2f}); "
            f"everything is saved\n  continue with: {display.resume_command(self.folder)}"
        )
        self.console.record(message)
        raise Interrupted(interrupts.exit_code(number), message)

    def _test(self) -> None:
        best, chosen = self.folder.checkpoints / "best.safetensors", "the last step's network"
        if self.parts.splits.validation is not None and best.is_file():
            restore_weights(best, self.parts)
            chosen = f"the network of step {self.progress.best.step}, best on validation"
        views = self.parts.config.evaluation.name
        store = self.parts.splits.test
        started = time.monotonic()
        tally = self.parts.judge(self.parts.in_order(store), views, interrupts.requested)
        self.reporter.test(tally, store, chosen, time.monotonic() - started)
        self.folder.update_status(
            status="done",
            ended=run_folder.now(),
            stop_reason=self.state.stop_reason,
            best_validation_error=self.progress.best.error,
            test_error=tally.top1_error,
        )


def _finished(folder: RunFolder, parts: Assembly) -> bool:
    return folder.status().get("status") == "done"
