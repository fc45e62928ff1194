"""One run from its first update to its test: what happens when, and what is saved."""

import time
from collections.abc import Callable
from pathlib import Path

from cnnlab import checkpoint, interrupts, run_folder
from cnnlab.config import Launch
from cnnlab.console import Console
from cnnlab.data.recorded import left_out_of, state_of
from cnnlab.errors import Interrupted, NumericsError
from cnnlab.evaluation import sharing
from cnnlab.evaluation.evaluate import EvaluationStopped
from cnnlab.evaluation.observers import NUM_MISSES, WorstMisses
from cnnlab.run_folder import RunFolder, provenance
from cnnlab.runtime import describe_device
from cnnlab.trainer import display, processes, resume, run_page
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.profiling import Profile
from cnnlab.trainer.reporter import Reporter
from cnnlab.trainer.resume import Resumption
from cnnlab.trainer.snapshot import (
    INTERRUPTED,
    Progress,
    document_of,
    restore,
    restore_weights,
    tensors_of,
)
from cnnlab.trainer.stalls import StallWatch
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

ASK_STEPS = 10
"""On a device, updates between two questions whether any process was asked to stop."""

LENGTH_KEYS = ("trainer.epochs", "trainer.early_stop_epochs")
"""Settings whose change lets a run go on behind an early stop."""


class Training:
    """One run: its parts, its progress, and where both are shown and saved."""

    def __init__(
        self, parts: Assembly, folder: RunFolder, console: Console, launch: Launch
    ) -> None:
        self.parts, self.folder, self.console, self.launch = parts, folder, console, launch
        self.progress = Progress(
            TrainState(parts.network, parts.optimizer), RunningLoss(parts.device), Best(), {}
        )
        self.state, self.peers = self.progress.state, parts.peers
        self._saved_step: int | None = None

    def run(self, resumption: Resumption | None) -> None:
        """Train from the beginning or go on, then test; raise Interrupted if asked to stop.

        The test images are looked at once, after everything was chosen on validation images.
        """
        display.header(self.console, self.parts, self.folder, self.launch)
        if self.peers.size > 1:
            self.console.line(f"processes   {self.peers.size}, each a share of every batch")
        if resumption is not None:
            self._go_on(resumption)
        self._describe()
        self.stalls = StallWatch(self.parts, self.folder, self.console)
        if resumption is None or resumption.held is None:
            self.stalls.before_training()
        self.reporter = Reporter(self.parts, self.progress, self.folder, self.console)
        try:
            self._train()
            self._leave_if_asked()
            self._test()
        except EvaluationStopped:
            self._leave_if_asked()
        except NumericsError as error:
            raise self._with_last_good(error) from error
        finally:
            self.reporter.close()

    def _train(self) -> None:
        state, parts, validate = self.state, self.parts, self._validate()
        try:
            if self.progress.validation_due:
                validate(state)
                self.save(state)
            batches, rate_at = parts.batches(state.step), parts.schedule.rate_at
            fit(state, batches, parts.step, rate_at, self._hooks(validate), parts.total_steps)
        except EvaluationStopped:
            pass  # the validation of this step is due; the state is whole
        self.save(state)

    def _go_on(self, resumption: Resumption) -> None:
        """Take up the state of the checkpoint; later checkpoints are another future of the run."""
        held, path = resumption.held, resumption.path
        if held is not None and path is not None:
            for warning in resume.environment_warnings(held, self.parts.device):
                self.console.line(warning)
            resume.check_data(held, self.parts.splits, self.parts.config.allow_changes)
            restore(held, path, self.parts, self.progress)
            if any(change.within(LENGTH_KEYS) for change in resumption.changes):
                self.state.stop_reason = None  # an early stop holds only for the length asked for
            self._put_checkpoints_in_order()
        resume.record(resumption, self.parts.config, self.state.step)
        self.console.line(f"continuing after step {self.state.step} from {path or 'the start'}")

    def _put_checkpoints_in_order(self) -> None:
        """Move later or damaged checkpoints away, and let `best` be the best of what is left."""
        step, best = self.state.step, self.progress.best
        for moved in self.folder.set_aside_after(step):
            self.console.line(f"set aside: {moved}")
        if best.step == step and self.folder.checkpoint_file(step).is_file():
            self.folder.mark(step, "best")
        elif self.peers.is_first and best.error is not None and not self._best_file.is_file():
            self.console.line(f"the best network so far (step {best.step}) is gone; it counts anew")
            best.error = None
        best.error = self.peers.broadcast(best.error)

    @property
    def _best_file(self) -> Path:
        return self.folder.checkpoints / "best.safetensors"

    def _with_last_good(self, error: NumericsError) -> NumericsError:
        last = run_folder.newest_checkpoint(self.folder, lambda _: None)
        good = f"last good checkpoint: {last}" if last else "no checkpoint was written before it"
        return NumericsError(error.what, f"{error.where}; {good}".strip("; "), error.hint)

    def _describe(self) -> None:
        self.folder.update_status(
            status="running",
            command=self.launch.command,
            model=self.parts.config.model.name,
            dataset=self.parts.config.dataset.name,
            seed=self.parts.config.seed,
            device=describe_device(self.parts.device),
            residency=self.parts.stream.residency,
            **state_of(self.parts.splits),
            left_out=left_out_of(self.parts.splits),
            num_processes=self.peers.size,
            launch=processes.launch_name(),
            **provenance.describe(),
        )

    def _hooks(self, validate: Callable[[TrainState], None]) -> list[Hook]:
        """Return what happens after each update, in this order."""
        trainer, saving = self.parts.config.trainer, self.parts.config.saving
        epoch_steps, last = self.parts.stream.steps_per_epoch, self.parts.total_steps
        hooks: list[Hook] = [
            self.progress.running_loss,
            self.reporter.advance,
            Every(trainer.log_every_steps, self._log),
            Every(
                trainer.validate_every_epochs * epoch_steps,
                lambda state, report: validate(state),
                last_step=last,
            ),
        ]
        if saving.every_steps:
            hooks.append(Every(saving.every_steps, self._save))
        if saving.every_epochs:
            hooks.append(Every(saving.every_epochs * epoch_steps, self._save))
        if saving.every_minutes:
            hooks.append(EveryMinutes(saving.every_minutes, self._save))
        if self.parts.config.runtime.profile and self.peers.is_first:
            place = self.folder.path / "profile"
            hooks.append(Profile(place, self.parts.device, self.console.line, last))
        hooks.append(self._stop_if_asked)
        return hooks

    def _validate(self) -> Callable[[TrainState], None]:
        """Return the validation with everything that follows from it; without images, a report.

        It raises EvaluationStopped on a request to stop; the checkpoint then says that the
        validation of its step is due.
        """
        store = self.parts.splits.validation
        if store is None:
            return lambda state: self._validated(state, {})
        batches = self.parts.in_order(store)

        def measure(_: object) -> dict[str, float]:
            self.progress.validation_due = True
            tally = self.parts.judge(batches, "center", sharing.asked_to_stop(self.peers))
            self.progress.validation_due = False
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
        validation = Validate(measure, [*listeners, self._validated])

        def validate(state: TrainState) -> None:
            self.parts.guard.check(state)
            validation(state)

        return validate

    def _validated(self, state: TrainState, validation: dict[str, float]) -> None:
        self.reporter.epoch(validation)
        epoch = state.step / self.parts.stream.steps_per_epoch
        self.stalls.after_epoch(state.step, epoch, self.progress.figures)
        if validation and self.progress.best.improved:
            self.save(state)
            self.folder.mark(state.step, "best")

    def _log(self, state: TrainState, report: StepReport) -> None:
        self.parts.guard.check(state)
        self.reporter.step(report)

    def _save(self, state: TrainState, report: StepReport) -> None:
        self.save(state)

    def save(self, state: TrainState) -> None:
        """Write the checkpoint of this step unless this process just did, and prune the oldest."""
        self.parts.guard.check(state)
        if self.peers.is_first and self._saved_step != state.step:
            tensors = tensors_of(self.parts, self.progress)
            path = self.folder.checkpoint_file(state.step)
            checkpoint.write(path, tensors, document_of(self.parts, self.progress))
            self._saved_step = state.step
        self.folder.mark(state.step, "last")
        self.folder.prune(self.parts.config.saving.keep)

    def _asked(self) -> int:
        """Return the signal that asked any process to stop, 0 without; all processes call it."""
        return self.peers.largest(interrupts.requested() or 0)

    def _stop_if_asked(self, state: TrainState, report: StepReport) -> None:
        # a question to the other processes makes the host wait: on a device not at every step
        every_steps = 1 if self.parts.device.type == "cpu" or self.peers.size == 1 else ASK_STEPS
        if state.step % every_steps == 0 and self._asked():
            state.stop_reason = INTERRUPTED

    def _leave_if_asked(self) -> None:
        if (number := self._asked()) == 0:
            return
        epoch_steps = self.parts.stream.steps_per_epoch
        go_on = display.resume_command(self.folder.path, self.parts.config.plugins)
        message = (
            f"stopped after step {self.state.step} (epoch {self.state.step / epoch_steps:.2f}); "
            f"everything is saved\n  continue with: {go_on}"
        )
        self.console.record(message)
        raise Interrupted(interrupts.exit_code(number), message)

    def _test(self) -> None:
        chosen = "the last step's network"
        if self.parts.splits.validation is not None and self._best_file.is_file():
            restore_weights(self._best_file, self.parts)
            chosen = f"the network of step {self.progress.best.step}, best on validation"
        views = self.parts.config.evaluation.name
        store = self.parts.splits.test
        started = time.monotonic()
        batches, misses = self.parts.in_order(store), WorstMisses(NUM_MISSES)
        tally = self.parts.judge(batches, views, sharing.asked_to_stop(self.peers), [misses])
        seconds = time.monotonic() - started
        found = sharing.worst_of_all(self.peers, misses.misses, len(store), NUM_MISSES)
        self.folder.update_status(
            status="done",
            ended=run_folder.now(),
            stop_reason=self.state.stop_reason,
            best_validation_error=self.progress.best.error,
            test_error=tally.top1_error,
        )
        if self.parts.config.logging.report and self.peers.is_first:
            run_page.finish(self.parts, self.folder, self.reporter, tally, found)
        self.reporter.test(tally, store, chosen, seconds)
