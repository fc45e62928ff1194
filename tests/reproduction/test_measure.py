"""Each metric on runs and probabilities that were written down beforehand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnlab.config import claims
from cnnlab.errors import CheckpointError, DataError
from cnnlab.reproduction import measure
from cnnlab.reproduction.rows import curve, curve_of
from cnnlab.run_folder import RunFolder
from scripts.torture.strangers import KINDS, put

LABELS = [0, 1, 1, 0]


def run_in(folder: Path) -> Any:
    """A finished run as the metrics see it: its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(path=folder, folder=RunFolder(folder))


def keep(folder: Path, probabilities: Any, error: float = 0.0) -> None:
    """Write an evaluation, which is therefore not made again."""
    folder.mkdir(parents=True)
    _, split, views = folder.name.rsplit("_", 2)
    views = "ten_view" if views == "view" else views
    split = "test" if "test" in folder.name else split
    (folder / f"evaluation_{split}_{views}.json").write_text(json.dumps({"top1_error": error}))
    np.save(folder / "probabilities.npy", np.array(probabilities, dtype=np.float32))
    np.save(folder / "labels.npy", np.array(LABELS))


def arm_of(tmp_path: Path, *runs: Any, target: float | None = None) -> measure.Arm:
    return measure.Arm(runs, tmp_path / "evaluations", None, target)  # type: ignore[arg-type]


def sure_of(*classes: int) -> list[list[float]]:
    """Probabilities of two classes: 0.9 for the class named, per image."""
    return [[0.9, 0.1] if one == 0 else [0.1, 0.9] for one in classes]


def test_updates_are_counted_until_the_mean_of_the_last_batches_is_below(tmp_path: Path) -> None:
    run = run_in(tmp_path / "a")
    losses = [2.0] * 10 + [0.5] * 10
    rows = [{"step": 5 * i + 5, "train/batch_loss": loss} for i, loss in enumerate(losses)]
    run.folder.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    # 2.0 * 3 + 0.5 * 7 over ten batches is 0.95: seven batches after the tenth
    assert measure.updates_to_loss(arm_of(tmp_path, run, target=1.0)) == [85.0]
    never = measure.updates_to_loss(arm_of(tmp_path, run, target=0.1))
    assert never == [100.0]  # its whole length


def test_updates_are_counted_to_the_first_minimum_of_the_validation_loss(tmp_path: Path) -> None:
    run = run_in(tmp_path / "a")
    losses = [(100, 0.9), (200, 0.4), (300, 0.6), (400, 0.4)]
    rows = [{"step": 50, "train/batch_loss": 0.1}]
    rows += [{"step": step, "validation/loss": loss} for step, loss in losses]
    run.folder.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert measure.updates_to_minimum(arm_of(tmp_path, run)) == [200.0]


def test_overfitting_is_test_error_minus_training_error(tmp_path: Path) -> None:
    run = run_in(tmp_path / "a")
    run.folder.update_status(test_error=0.25)
    keep(tmp_path / "evaluations" / "a_train_center", [], error=0.05)
    assert measure.overfitting(arm_of(tmp_path, run)) == [pytest.approx(0.2)]


def test_the_gain_of_views_is_per_image_and_reads_the_center_from_the_same_evaluation(
    tmp_path: Path,
) -> None:
    right, wrong = sure_of(*LABELS), sure_of(1, 1, 1, 0)
    views = [wrong if view == measure.CENTER else right for view in range(10)]
    keep(tmp_path / "evaluations" / "a_test_ten_view", np.transpose([views], (2, 0, 1, 3)))
    assert measure.gain_of_views(arm_of(tmp_path, run_in(tmp_path / "a"))) == [1, 0, 0, 0]


def test_the_gain_of_an_ensemble_is_over_its_mean_member(tmp_path: Path) -> None:
    members = [sure_of(1, 1, 1, 0), sure_of(*LABELS), sure_of(*LABELS)]
    probabilities = np.transpose([[member] for member in members], (2, 0, 1, 3))
    keep(tmp_path / "evaluations" / "ensemble_of_3_a_test_center", probabilities)
    runs = [run_in(tmp_path / name) for name in "abc"]
    assert measure.gain_of_ensemble(arm_of(tmp_path, *runs)) == pytest.approx([1 / 3, 0, 0, 0])


def test_rejection_leaves_out_the_least_certain(tmp_path: Path) -> None:
    probabilities = [[[[0.45, 0.55]]], *[[[row]] for row in sure_of(1, 1, 0)]]
    keep(tmp_path / "evaluations" / "a_test_center", probabilities)
    arm = arm_of(tmp_path, run_in(tmp_path / "a"), target=0.25)
    assert measure.gain_of_rejection(arm) == [0.25]


def test_the_rejection_curve_is_the_mean_of_the_runs_and_shown_in_percent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "REJECTED", (0.0, 0.25))
    unsure, sure = [[[0.45, 0.55]]], [[[0.05, 0.95]]]  # of the first image, wrong both
    for name, first in (("a", unsure), ("b", sure)):
        others = [[[row]] for row in sure_of(1, 1, 0)]
        keep(tmp_path / "evaluations" / f"{name}_test_center", [first, *others])
    found = measure.rejection_curve(arm_of(tmp_path, *(run_in(tmp_path / one) for one in "ab")))
    assert found == [(0.0, 0.25), (0.25, pytest.approx((0 + 1 / 3) / 2))]

    arm = curve_of(claims.read("rejection"), arm_of(tmp_path, run_in(tmp_path / "a")))
    assert curve(json.loads(json.dumps(arm))) == "0 %: 25.00 %; 25 %: 0.00 %"
    assert curve_of(claims.read("lrn_helps"), arm_of(tmp_path)) == {}
    assert curve({}) == ""


OTHER_ARRAYS = {
    "a pickle": np.array([print], dtype=object),
    "another type": np.zeros((4, 1, 10, 2)),
    "few views": np.zeros((4, 1, 1, 2), np.float32),
    "other images": np.zeros((3, 1, 10, 2), np.float32),
    "a number": np.array(0, np.float32),
}


@pytest.mark.parametrize("kind", ["missing", "cut", *OTHER_ARRAYS, *KINDS])
@pytest.mark.parametrize("name", ["probabilities.npy", "labels.npy"])
def test_an_evaluation_that_a_stranger_left_is_no_bug_and_no_way_out(
    tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("precious")
    folder = tmp_path / "evaluations" / "a_test_ten_view"
    keep(folder, np.zeros((4, 1, 10, 2)))
    arm = arm_of(tmp_path, run_in(tmp_path / "a"))
    assert measure.gain_of_views(arm) == [0, 0, 0, 0]

    path = folder / name
    if kind in KINDS:
        put(kind, path, tmp_path / "outside")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    elif kind == "missing":
        path.unlink()
    else:
        np.save(path, OTHER_ARRAYS[kind])
    with pytest.raises((DataError, CheckpointError)) as caught:
        measure.gain_of_views(arm)
    assert str(folder) in caught.value.where


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"top1_error": "x"}', '{"top1_error": []}'])
def test_a_forged_error_of_an_evaluation_is_damage(tmp_path: Path, content: str) -> None:
    run = run_in(tmp_path / "a")
    run.folder.update_status(test_error=0.25)
    keep(tmp_path / "evaluations" / "a_train_center", [])
    (tmp_path / "evaluations" / "a_train_center" / "evaluation_train_center.json").write_text(
        content
    )
    with pytest.raises(DataError, match="damaged"):
        measure.overfitting(arm_of(tmp_path, run))


@pytest.mark.parametrize(
    "line", ["{", "[]", "7", "[" * 100_000, '{"step": 1, "validation/loss": "x"}']
)
def test_forged_figures_of_a_run_are_damage(tmp_path: Path, line: str) -> None:
    run = run_in(tmp_path / "a")
    run.folder.metrics_file.write_text(line + "\n")
    with pytest.raises(DataError, match=r"damaged|logged no"):
        measure.updates_to_minimum(arm_of(tmp_path, run))


def test_no_evaluation_is_written_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "evaluations" / "a_test_ten_view").symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="symbolic link"):
        measure.gain_of_views(arm_of(tmp_path, run_in(tmp_path / "a")))
