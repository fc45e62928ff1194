"""One run from its first update to its test: what happens when, and what is saved."""

import time
from collections.abc import Callable

from cnnlab import checkpoint, interrupts, run_folder
from cnnlab.config.ema import EMA
from cnnlab.cpu.contention import ContentionWatch
from cnnlab.cpu.processors import budget
from cnnlab.data.store import Store
from cnnlab.errors import Interrupted, NumericsError
from cnnlab.evaluation import sharing
from cnnlab.evaluation.evaluate import EvaluationStopped
from cnnlab.evaluation.observers import NUM_MISSES, WorstMisses
from cnnlab.evaluation.precision_recall import PrecisionRecall
from cnnlab.run_folder import RunFolder
from cnnlab.trainer import display, rate_finder, run_report, snapshot, validation
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.profiling import Profile
from cnnlab.trainer.reporter import Reporter
from cnnlab.trainer.snapshot import INTERRUPTED, Progress
from cnnlab.trainer.stalls import StallWatch
from cnnlab.training.hooks import (
    EarlyStop,
    Every,
    EveryMinutes,
    Listener,
    Validate,
    drop_rate,
)
from cnnlab.training.loop import Hook, StepReport, TrainState, fit

ASK_STEPS = 10
"""With several processes on devices, updates between checks for a request to stop."""


class Trainer:
    """A run that is assembled and, if it is resumed, restored: trained, saved and tested.

    progress: where it starts. reporter: shows and writes its figures. stalls: warns of networks
    that do not learn.
    """

    def __init__(
        self,
        parts: Assembly,
        progress: Progress,
        folder: RunFolder,
        reporter: Reporter,
        stalls: StallWatch,
    ) -> None:
        self.parts, self.progress, self.folder = parts, progress, folder
        self.reporter, self.stalls = reporter, stalls
        threads = parts.threads.number if parts.device.type == "cpu" else 1
        self._contention = ContentionWatch(
            threads, budget().processors, lambda text: stalls.warn("busy", text)
        )
        self.state, self.peers = progress.state, parts.peers
        self._best_file = folder.checkpoints / "best.safetensors"
        self._saved_step: int | None = None

    def run(self) -> None:
        """Train to the last step, then test; raise Interrupted if asked to stop.

        The test images are looked at once, after everything was chosen on validation images.
        """
        try:
            self._train()
            self._leave_if_asked()
            if self.parts.config.schedule.is_trial:
                self._end_trial()
            else:
                self._test()
        except EvaluationStopped:
            self._leave_if_asked()
        except NumericsError as error:
            raise self._with_last_good(error) from error

    def hooks(self, validate: Callable[[TrainState], None]) -> list[Hook]:
        """Return what happens after each update, in this order."""
        trainer, saving = self.parts.config.trainer, self.parts.config.saving
        epoch_steps, last = self.parts.stream.steps_per_epoch, self.parts.total_steps
        hooks: list[Hook] = [
            self.progress.running_loss,
            *self.parts.schedule.hooks(self._forgive),
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

        if (steps := self.parts.config.logging.histograms_every_steps) is not None:
            hooks.append(Every(steps, self.reporter.tabs.histograms))
        if self.parts.config.runtime.profile and self.peers.is_first:
            place, say = self.folder.path / "profile", self.reporter.console.line
            hooks.append(Profile(place, self.parts.device, say, last))
        hooks.append(self._stop_if_asked)
        return hooks

    def save(self, state: TrainState) -> None:
        """Write the checkpoint of this step unless this process just did, and prune the oldest."""
        self.parts.guard.check(state)

        if self._saved_step != state.step:
            taken = snapshot.take(self.parts, self.progress)
            file = self.folder.checkpoint_file(state.step)
            if self.peers.is_first:
                checkpoint.write(file, taken.tensors, taken.document)
            self._saved_step = state.step

        self.folder.mark(state.step, "last")
        saving = self.parts.config.saving
        self.folder.prune(saving.keep, saving.keep_spread, self.parts.total_steps)

    def _train(self) -> None:
        state, parts, judge = self.state, self.parts, self._validate()

        def validate(state: TrainState) -> None:
            parts.gather_weights()
            judge(state)

        try:
            if self.progress.validation_due:
                validate(state)
                self.save(state)
            batches, rate_at = parts.batches(state.step), parts.schedule.rate_at
            fit(state, batches, parts.step, rate_at, self.hooks(validate), parts.total_steps)
        except EvaluationStopped:
            pass  # the state is whole, and the checkpoint says that a validation is due
        self.save(state)

    def _validate(self) -> Callable[[TrainState], None]:
        """Return the validation with everything that follows from it; without images, a report.

        It raises EvaluationStopped on a request to stop; the checkpoint then says that the
        validation of its step is due.
        """
        store = self.parts.splits.validation
        if self.parts.config.schedule.is_trial:
            return lambda state: None if state.stop_reason else self._validated(state, {})
        if store is None:
            return lambda state: self._validated(state, {})
        run_validation = Validate(self._measure_on(store), self._listeners())

        def validate(state: TrainState) -> None:
            self.parts.guard.check(state)
            run_validation(state)

        return validate

    def _measure_on(self, store: Store) -> Callable[[object], dict[str, float]]:
        """Return the measurement of the network on `store`, center view."""
        batches = self.parts.in_order(store)  # made once: a small set stays on the device

        def measure(_: object) -> dict[str, float]:
            self.progress.validation_due = True
            figures = validation.figures_of(self.parts, batches)
            self.progress.validation_due = False
            return figures

        return measure

    def _listeners(self) -> list[Listener]:
        """Return what reads the figures of a validation, in this order."""
        best, patience_epochs = self.progress.best, self.parts.config.trainer.early_stop_epochs
        listeners: list[Listener] = [best, drop_rate(self.parts.schedule)]
        if patience_epochs is not None:
            listeners.append(EarlyStop(best, patience_epochs * self.parts.stream.steps_per_epoch))
        return [*listeners, self._validated]

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
        self._contention.after(self.parts.config.trainer.log_every_steps)

    def _forgive(self) -> None:
        """Forget an update that was not finite, which was skipped."""
        self.parts.guard.forgive()
        self.progress.running_loss.read()

    def _save(self, state: TrainState, report: StepReport) -> None:
        self.save(state)

    def _asked(self) -> int:
        """Return the signal that asked any process to stop, 0 without; all processes call it."""
        return self.peers.largest(interrupts.requested() or 0)

    def _stop_if_asked(self, state: TrainState, report: StepReport) -> None:
        # asking the other processes makes the host wait: on a device not after every update
        every_steps = 1 if self.parts.device.type == "cpu" or self.peers.size == 1 else ASK_STEPS
        if state.step % every_steps == 0 and self._asked():
            state.stop_reason = INTERRUPTED

    def _leave_if_asked(self) -> None:
        if (number := self._asked()) == 0:
            return

        epoch = self.state.step / self.parts.stream.steps_per_epoch
        command = display.resume_command(self.folder.path, self.parts.config.plugins)
        message = (
            f"stopped after step {self.state.step} (epoch {epoch:.2f}); "
            f"everything is saved\n  continue with: {command}"
        )
        self.reporter.console.record(message)
        raise Interrupted(interrupts.exit_code(number), message)

    def _with_last_good(self, error: NumericsError) -> NumericsError:
        """Return the error with the newest whole checkpoint in it."""
        last = run_folder.newest_checkpoint(self.folder, lambda _: None)
        good = f"last good checkpoint: {last}" if last else "no checkpoint was written before it"
        return NumericsError(error.what, f"{error.where}; {good}".strip("; "), error.hint)

    def _end_trial(self) -> None:
        """End a run that only tried rates: its network is not tested."""
        reporter = self.reporter
        reporter.console.stop_bar()
        found = rate_finder.conclude(self.parts, self.folder, reporter.console, reporter.writers)
        self.folder.update_status(
            status="done", ended=run_folder.now(), stop_reason=self.state.stop_reason, **found
        )

    def _test(self) -> None:
        """Test the network that is best on validation images, and end the run."""
        chosen = self._choose_network()
        views = self.parts.config.evaluation.name
        store = self.parts.splits.test

        started = time.monotonic()
        batches, misses = self.parts.in_order(store), WorstMisses(NUM_MISSES)
        curves = PrecisionRecall(len(store.class_names))
        should_stop = sharing.asked_to_stop(self.peers)
        tally = self.parts.evaluate(batches, views, should_stop, [misses, curves])
        seconds = time.monotonic() - started
        found = sharing.gather_misses(self.peers, misses.misses, len(store), NUM_MISSES)
        counts = sharing.gather_sum(self.peers, curves.counts)

        self.folder.update_status(
            status="done",
            ended=run_folder.now(),
            stop_reason=self.state.stop_reason,
            best_validation_error=self.progress.best.error,
            test_error=tally.top1_error,
        )
        self.reporter.test(tally, store, chosen, counts)
        if self.parts.config.logging.report and self.peers.is_first:
            run_report.write(self.parts, self.folder, self.reporter, tally, found)
            self.folder.update_status(ended=run_folder.now())  # it draws for seconds
        self.reporter.took(seconds)

    def _choose_network(self) -> str:
        """Load the weights that are best on validation images, and return which they are."""
        if self.parts.splits.validation is None or not self._best_file.is_file():
            return "the network of the last step"

        best = checkpoint.read(self._best_file)
        which = self.parts.config.which_weights
        snapshot.restore_weights(best, self._best_file, self.parts.judged, which)
        averaged = "averaged " if which == EMA else ""
        return f"the {averaged}network of step {self.progress.best.step}, best on validation"
