"""`cnnlab train`: one run from its config to its test error, in one folder that explains itself."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cnnlab import checkpoint, interrupts, run_folder
from cnnlab.app import display, resume, run_page
from cnnlab.app.assemble import Assembly, assemble
from cnnlab.app.figures import Reporter
from cnnlab.app.resume import Resumption
from cnnlab.app.snapshot import Progress, document_of, restore, restore_weights, tensors_of
from cnnlab.config import Launch, TrainConfig, to_plain
from cnnlab.console import Console
from cnnlab.errors import Interrupted, NumericsError
from cnnlab.evaluation.evaluate import EvaluationStopped
from cnnlab.evaluation.observers import NUM_MISSES, WorstMisses
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
    with contextlib.closing(console), interrupts.watching(), contextlib.ExitStack() as held:
        resumption = None
        if config.resume is not None:
            resumption = resume.prepare(config, console.line)
            if resumption is None:
                return 0
            held.callback(resumption.folder.release)
        parts = assemble(config, device)
        folder = resumption.folder if resumption else claim_folder(config, launch)
        launch.log = str(folder.log_file)
        console.log_to(folder.log_file)
        with recorded(folder):
            Training(parts, folder, console, launch).run(resumption)
    return 0


def claim_folder(config: TrainConfig, launch: Launch) -> RunFolder:
    """Claim a new run folder, locked, and put the config into it.

    Raises BusyError when the folder named exists.
    """
    name = f"{config.model.name}_{config.dataset.name}"
    exact = launch.folder
    if launch.sweep_folder is not None:
        exact = str(Path(launch.sweep_folder) / f"{launch.job}_{name}")
    folder = run_folder.claim(name, exact=exact)
    folder.write_config(to_plain(config))
    return folder


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
        self._saved_step: int | None = None

    def run(self, resumption: Resumption | None) -> None:
        """Train from the beginning or go on, then test; raise Interrupted if asked to stop.

        The test images are looked at once, after everything was chosen on validation images.
        """
        display.header(self.console, self.parts, self.folder, self.launch)
        if resumption is not None:
            self._go_on(resumption)
        self._describe()
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
            digest = self.parts.splits.train.digest
            resume.check_data(held, digest, self.parts.config.allow_changes)
            restore(held, path, self.parts, self.progress)
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
        elif best.error is not None and not self._best_file.is_file():
            self.console.line(f"the best network so far (step {best.step}) is gone; it counts anew")
            best.error = None

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
            data_digest=self.parts.splits.train.digest,
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
            tally = self.parts.judge(batches, "center", interrupts.requested)
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
            self.parts.latch.check(state)
            validation(state)

        return validate

    def _validated(self, state: TrainState, validation: dict[str, float]) -> None:
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
        """Write the checkpoint of this step unless this process just did, and prune the oldest."""
        self.parts.latch.check(state)
        if self._saved_step != state.step:
            tensors = tensors_of(self.parts, self.progress)
            path = self.folder.checkpoint_file(state.step)
            checkpoint.write(path, tensors, document_of(self.parts, self.progress))
            self._saved_step = state.step
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
        chosen = "the last step's network"
        if self.parts.splits.validation is not None and self._best_file.is_file():
            restore_weights(self._best_file, self.parts)
            chosen = f"the network of step {self.progress.best.step}, best on validation"
        views = self.parts.config.evaluation.name
        store = self.parts.splits.test
        started = time.monotonic()
        batches, misses = self.parts.in_order(store), WorstMisses(NUM_MISSES)
        tally = self.parts.judge(batches, views, interrupts.requested, [misses])
        self.reporter.test(tally, store, chosen, time.monotonic() - started)
        self.folder.update_status(
            status="done",
            ended=run_folder.now(),
            stop_reason=self.state.stop_reason,
            best_validation_error=self.progress.best.error,
            test_error=tally.top1_error,
        )
        if self.parts.config.logging.report:
            run_page.finish(self.parts, self.folder, self.reporter, tally, misses.misses)
