"""What an arm chooses a setting by, and how a row shows what it has tried."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from cnnlab.config import TrainConfig
from cnnlab.reproduction.choosing import Candidate, PlannedRun, Search
from cnnlab.reproduction.plan import ArmPlan
from cnnlab.reproduction.rows import searched, tried
from cnnlab.run_folder import RunFolder

NO_SETTINGS = cast(TrainConfig, None)
TARGET = 0.45


def run_of(folder: Path, losses: list[float], error: float | None) -> PlannedRun:
    """A run that has logged every tenth update; error: of validation, None where it diverged."""
    folder.mkdir()
    run = RunFolder(folder)
    rows = [{"step": 10 * i, "train/batch_loss": loss} for i, loss in enumerate(losses, start=1)]
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.update_status(
        status="failed" if error is None else "done", best_validation_error=error, test_error=0.1
    )
    return PlannedRun(folder, NO_SETTINGS, 0)


def search_of(folder: Path, runs: dict[float, tuple[list[float], float | None]]) -> Search:
    """A search by the updates to a training loss; losses are means over ten logged batches."""
    candidates = tuple(
        Candidate(value, (f"lr={value}",), run_of(folder / str(value), [*losses] * 10, error))
        for value, (losses, error) in runs.items()
    )
    return Search("optimizer.learning_rate", candidates, "updates_to_loss", TARGET)


SOON, NEVER = [0.1], [0.9]


def later(folder: Path) -> PlannedRun:
    """A run that gets there after 16 logged batches of 20."""
    return run_of(folder, [0.9] * 10 + [0.1] * 10, 0.01)


def test_the_value_that_gets_there_first_is_chosen_whatever_its_validation_error(
    tmp_path: Path,
) -> None:
    first = search_of(tmp_path, {0.1: (SOON, 0.4), 0.3: (NEVER, 0.01)})
    last = Candidate(1.0, (), later(tmp_path / "later"))
    search = Search(first.key, (last, *first.candidates), first.metric, TARGET)
    assert [search.figure(one.run) for one in search.candidates] == [160, 100, None]
    assert search.chosen.value == 0.1

    by_error = Search(search.key, search.candidates)
    assert by_error.chosen.value == 1.0  # the first of least validation error


def test_a_run_that_diverges_is_the_worst_even_if_it_was_there_before(tmp_path: Path) -> None:
    search = search_of(tmp_path, {0.3: (SOON, None), 0.1: (NEVER, 0.5)})
    assert search.figure(search.candidates[0].run) is None
    assert search.chosen.value == 0.1


@pytest.mark.parametrize("losses", [SOON, NEVER])
def test_equal_figures_and_none_are_decided_by_validation_error_then_by_order(
    tmp_path: Path, losses: list[float]
) -> None:
    runs = {0.3: (losses, 0.2), 0.1: (losses, 0.1), 0.01: (losses, 0.1)}
    assert search_of(tmp_path, cast(Any, runs)).chosen.value == 0.1


def test_a_search_by_metric_has_other_settings_and_one_by_error_the_earlier_ones(
    tmp_path: Path,
) -> None:
    search = search_of(tmp_path, {0.1: (SOON, 0.1), 0.3: (SOON, 0.1)})
    assert Search(search.key, search.candidates).settings == [0.1, 0.3]
    assert search.settings == [0.1, 0.3, "updates_to_loss"]


def test_a_row_shows_each_value_with_the_figure_that_chose(tmp_path: Path) -> None:
    search = search_of(tmp_path, {0.1: (SOON, 0.25), 0.3: (NEVER, 0.125)})
    by_metric = searched(ArmPlan("a", 1, (), NO_SETTINGS, search))
    assert by_metric["searched"] == {"0.1": 100.0, "0.3": None}
    by = "updates until the training loss is below the target"
    assert tried(by_metric) == f"learning_rate 0.1 by {by} (0.1: 100; 0.3: -)"

    by_error = ArmPlan("a", 1, (), NO_SETTINGS, Search(search.key, search.candidates))
    shown = "learning_rate 0.3 by validation error (0.1: 25.00 %; 0.3: 12.50 %)"
    assert tried(searched(by_error)) == shown
    assert by_error.words_used == ("lr=0.3",)


def test_rows_of_an_earlier_version_show_what_they_tried(tmp_path: Path) -> None:
    assert tried({"searched": {"0.1": 0.25}}) == "by validation error (0.1: 25.00 %)"
    assert tried({"searched": None}) == tried({}) == ""
    assert searched(ArmPlan("a", 1, (), NO_SETTINGS)) == {"searched": None}
