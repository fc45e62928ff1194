"""`cnnlab.train` and the run that it returns."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from cnnlab import notebook
from cnnlab.command import calling
from cnnlab.command.verbs import VERBS, load_task
from cnnlab.config import Launch, Outcome, TrainConfig
from cnnlab.errors import CheckpointError
from cnnlab.face.evaluations import Evaluation, evaluate
from cnnlab.face.pictures import predict
from cnnlab.inference.predictor import Predictions, Predictor, load
from cnnlab.percentages import percent
from cnnlab.run_folder import RunFolder, current_status, find_run
from cnnlab.writers import read_epochs

FIGURES = ("best_validation_error", "test_error", "training_seconds")
"""Numbers of run.json."""


class Run:
    """A run: its folder, settings, figures and network; read from disk whenever they are asked for.

    where: a run folder, a checkpoint in one, or `latest`, the newest in outputs/. Raises UsageError
    where there is none. It may be pickled, and stands for its folder wherever a path is taken.
    """

    def __init__(self, where: Any = "latest") -> None:
        self.folder = find_run(where).path.absolute()

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def status(self) -> str:
        """Return done, running, interrupted, failed or killed."""
        return str(self.facts.get("status", "unknown"))

    @property
    def facts(self) -> dict[str, Any]:
        """Return run.json: command, versions, device, digests of the data, figures."""
        return current_status(self._files)

    @property
    def config(self) -> dict[str, Any]:
        """Return every setting of the run, as plain nested data."""
        return self._files.read_config()

    @property
    def figures(self) -> dict[str, float]:
        """Return the numbers of run.json and of the last epoch by name; errors are fractions."""
        known = {name: value for name in FIGURES if (value := self._number(name)) is not None}
        return {**known, **(self.history[-1] if self.history else {})}

    def _number(self, name: str) -> float | None:
        """Return a number of run.json, None where it is not there yet."""
        value = self.facts.get(name)
        if value is not None and not isinstance(value, int | float):
            raise CheckpointError(f"{name} is no number", str(self._files.status_file))
        return None if value is None else float(value)

    @property
    def test_error(self) -> float | None:
        """Return the share of test images that were wrong; None before the test."""
        return self.figures.get("test_error")

    @property
    def validation_error(self) -> float | None:
        """Return the lowest validation error; None where there is none yet."""
        return self.figures.get("best_validation_error")

    @property
    def history(self) -> list[dict[str, float]]:
        """Return the figures of each epoch, as metrics.csv has them."""
        return read_epochs(self.folder / "metrics.csv")

    @cached_property
    def network(self) -> Predictor:
        """Return the network that is best on validation images, an ensemble's together."""
        return load(self.folder)

    def resume(self, *words: str, **settings: Any) -> "Run":
        """Train on, where the run was stopped or with `trainer.epochs` raised."""
        return train(*words, **settings, resume=self.folder)

    def evaluate(self, *words: str, **settings: Any) -> Evaluation:
        """Measure the errors of the run's network, as `cnnlab.evaluate`."""
        return evaluate(*words, **settings, checkpoint=self.folder)

    def predict(self, images: Any, *words: str, **settings: Any) -> Predictions:
        """Classify pictures with the run's network, as `cnnlab.predict`."""
        return predict(images, *words, **settings, checkpoint=self.folder)

    @property
    def _files(self) -> RunFolder:
        return RunFolder(self.folder)

    @property
    def _title(self) -> str:
        facts = self.facts
        return f"{facts.get('model', '?')} on {facts.get('dataset', '?')}, {self.status}"

    def __getstate__(self) -> dict[str, Path]:
        """Return the folder alone: a network is read again."""
        return {"folder": self.folder}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def __repr__(self) -> str:
        error = self.test_error
        tested = "" if error is None else f", test error {percent(error)}"
        return f"<Run {str(self.folder)!r}: {self._title}{tested}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the figures, and the curve of the validation error."""
        errors = {"test error": self.test_error, "validation error": self.validation_error}
        rows = [[name, percent(error)] for name, error in errors.items() if error is not None]
        key = "validation/top1_error"
        below = notebook.curve_of(self.history, "validation error", key, percent)
        return notebook.table(self._title, [*rows, ["folder", str(self.folder)]], below=below)


def train(*words: str, **settings: Any) -> Run:
    """Train as `cnnlab train` with these words; return the run.

    words: 'model=lenet5', 'trainer.epochs=3'. settings: the same by name, with values of Python:
    seed=1, **{"trainer.epochs": 3}. Progress is printed on stdout, as the command prints it.
    Raises CnnlabError, a class for each exit code; KeyboardInterrupt once everything is saved.
    """

    def load() -> Callable[[TrainConfig, Launch], Run]:
        task = load_task(VERBS["train"])

        def trained(config: TrainConfig, launch: Launch) -> Run:
            outcome = task(config, launch)
            assert isinstance(outcome, Outcome)
            return Run(outcome.run or config.resume)  # a complete run is not trained again

        return trained

    return calling.call("train", words, settings, load)
