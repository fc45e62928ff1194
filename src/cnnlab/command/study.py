"""The study of a search: Optuna's record of its trials, beside what the jobs themselves recorded.

A trial is a job: both have the same number. Optuna is imported when a study is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlab.command import sweeps
from cnnlab.errors import UsageError
from cnnlab.extras import install_hint

SETTINGS = "settings"
"""Name of the study's attribute that holds the words which all trials share."""

FIRST_SIGNAL = 128
"""Exit codes above it are of jobs that were asked to end before they were done."""


class Study:
    """A study in a database, new or as an earlier command left it.

    folder: of its sweep, with jobs.jsonl. Raises UsageError where it cannot be opened.
    """

    def __init__(self, storage: str, name: str, folder: Path) -> None:
        import optuna

        self.folder, self.sweep_name = folder, f"study {name}"
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # the table says what it would
        try:
            self._study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        except Exception as error:  # of Optuna, of its database, of versions that do not fit
            first = (str(error).splitlines() or [""])[0]
            what = f"the study cannot be opened: {type(error).__name__}: {first}"
            raise UsageError(what, str(storage), install_hint("search")) from error

    @property
    def num_trials(self) -> int:
        """Return how many trials were begun."""
        return len(self._study.trials)

    @property
    def has_result(self) -> bool:
        """Return whether any trial has a validation error."""
        return any(trial.state.name == "COMPLETE" for trial in self._study.trials)

    def check_shared(self, words: Sequence[str]) -> None:
        """Keep the words that all trials share; raise UsageError where earlier ones had others."""
        before = self._study.user_attrs.get(SETTINGS)
        if before is None:
            self._study.set_user_attr(SETTINGS, list(words))
        elif sorted(before) != sorted(words):
            differing = " ".join(sorted({*before} ^ {*words}))
            raise UsageError(
                "the trials of this study were trained with other settings",
                f"{self.folder}: {differing}",
                f"continue with the same ones, or search in another folder: {sweeps.PLACE}",
            )

    def tell_of_killed(self) -> list[int]:
        """Tell the study of each trial that it waits for in vain; return those without a result.

        For use while no trial is being trained.
        """
        from optuna.trial import TrialState

        lost, rows = [], self._rows()
        for trial in self._study.trials:
            if trial.state != TrialState.RUNNING:
                continue
            row = rows.get(trial.number, {})
            if row.get("exit_code") == 0 and row.get("validation_error") is not None:
                self._study.tell(trial.number, row["validation_error"])  # killed just before that
                continue
            self._study.tell(trial.number, state=TrialState.FAIL)
            lost.append(trial.number)
        return lost

    def num_ended(self) -> int:
        """Return how many trials came to an end by themselves, with an error or without."""
        rows = self._rows()

        def ended(trial: Any) -> bool:
            code = rows.get(trial.number, {}).get("exit_code")
            return trial.state.name == "COMPLETE" or (code is not None and code < FIRST_SIGNAL)

        return sum(map(ended, self._study.trials))

    def _rows(self) -> dict[int, dict[str, Any]]:
        """Return what jobs.jsonl says of the trials that ended, by their number."""
        return {row["job"]: row for row in sweeps.jobs_of(self.sweep_name, self.folder)}
