"""A setting that an arm chooses for itself: the runs that try its values, and which one wins."""

import math
from dataclasses import dataclass
from pathlib import Path

from cnnlab.config import TrainConfig
from cnnlab.config.claim_metrics import METRICS
from cnnlab.config.verbs.reproduce import Words
from cnnlab.run_folder import RunFolder

VALIDATION_ERROR = "validation error"


@dataclass(frozen=True)
class PlannedRun:
    """One training: its folder, its settings, and about how many images it sees."""

    path: Path
    config: TrainConfig
    images: float

    @property
    def folder(self) -> RunFolder:
        """The run folder, there or not."""
        return RunFolder(self.path)

    @property
    def is_done(self) -> bool:
        """Whether it has ended with a test error."""
        return bool(self.folder.status().get("status") == "done")


@dataclass(frozen=True)
class Candidate:
    """A value that an arm tries before its seeds run, and the run that tries it."""

    value: float
    words: Words
    run: PlannedRun


@dataclass(frozen=True)
class Search:
    """What an arm tries of one setting.

    metric: the name of the claim's metric where that chooses, None where the validation error does.
    target: of the metric.
    """

    key: str
    candidates: tuple[Candidate, ...]
    metric: str | None = None
    target: float | None = None

    @property
    def by(self) -> str:
        """What chooses, in words."""
        return VALIDATION_ERROR if self.metric is None else METRICS[self.metric].about

    @property
    def unit(self) -> str:
        """The unit of what chooses."""
        return "percent" if self.metric is None else METRICS[self.metric].unit

    @property
    def settings(self) -> list[object]:
        """All that the choice depends on, as plain data."""
        tried: list[object] = [candidate.value for candidate in self.candidates]
        return tried if self.metric is None else [*tried, self.metric]

    def figure(self, run: PlannedRun) -> float | None:
        """Return what chooses of a run; None where it has diverged or did not get there."""
        if self.metric is None:
            return validation_error(run)
        if not run.is_done:
            return None
        found: float | None = METRICS[self.metric].load_chooser()(run, self.target)
        return found

    @property
    def chosen(self) -> Candidate:
        """The candidate of the least figure; a run without one is the worst.

        Of equal ones, and where no run has a figure, the one of least validation error, and of
        these the first.
        """

        def rank(candidate: Candidate) -> tuple[float, float]:
            figures = (self.figure(candidate.run), validation_error(candidate.run))
            first, second = (math.inf if one is None else one for one in figures)
            return first, second

        return min(self.candidates, key=rank)


def validation_error(run: PlannedRun) -> float | None:
    """Return the least validation error of a run; None where it has not ended."""
    found = run.folder.status().get("best_validation_error")
    return float(found) if isinstance(found, float | int) else None
