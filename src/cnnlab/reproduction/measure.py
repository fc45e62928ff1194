"""The figures of an arm: one for each seed, or for each test image, from its finished runs.

Evaluations are kept below `evaluations`; one that is there is not repeated.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cnnlab.config import DatasetConfig, EvaluateConfig, choices, parse
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.errors import DataError
from cnnlab.files import arrays, regular
from cnnlab.inference import evaluation, report
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.session import Session
from cnnlab.trainer.fast_evaluation import EVALUATION_BATCH
from cnnlab.visualization.rejection import errors_of_rest
from cnnlab.writers import MOST_METRICS_BYTES

LOSS = "train/batch_loss"
"""Logged, of each batch."""

WINDOW = 10
"""Logged batches whose mean loss is compared with a target."""


@dataclass(frozen=True)
class Arm:
    """The finished runs of an arm, one per seed, and what its metric needs.

    evaluations: the folder of all evaluations. target: of the claim's metric. other_set: that the
    metric needs beside the runs' own.
    """

    runs: Sequence[PlannedRun]
    evaluations: Path
    here: Session
    target: float | None
    other_set: DatasetConfig | None = None


def test_errors(arm: Arm) -> list[float]:
    """Return the test error of each run, of the network that was best on validation images."""
    return [_test_error(run) for run in arm.runs]


def overfitting(arm: Arm) -> list[float]:
    """Return of each run its test error minus its error on the images it was trained on."""
    return [
        _test_error(run) - _error_of(_evaluated(arm, [run], "train", "center")) for run in arm.runs
    ]


def updates_to_loss(arm: Arm) -> list[float]:
    """Return after how many updates the loss of the last logged batches is below the target.

    A run that does not get there counts with its whole length, which is too few.
    """
    assert arm.target is not None
    found = []
    for run in arm.runs:
        losses = _logged(run, LOSS)
        reached = _updates_to(arm.target, losses)
        found.append(float(losses[-1][0]) if reached is None else reached)
    return found


def updates_of_run(run: PlannedRun, target: float) -> float | None:
    """Return after how many updates a run is below the target, None where it never is.

    Of the training loss alone, so that an arm may choose its setting by it.
    """
    return _updates_to(target, _logged(run, LOSS))


def updates_to_minimum(arm: Arm) -> list[float]:
    """Return after how many updates the validation loss of each run is at its minimum.

    The first of equal ones. A run whose loss still falls at its end counts with its whole length,
    which is too few.
    """
    found = []
    for run in arm.runs:
        losses = _logged(run, "validation/loss")
        found.append(float(min(losses, key=lambda at: at[1])[0]))
    return found


def gain_of_views(arm: Arm) -> list[float]:
    """Return for each test image how much more often the center view errs than ten views do.

    The mean over the runs: with one run -1, 0 or 1.
    """
    gains = []
    for run in arm.runs:
        probabilities, labels = _probabilities(_evaluated(arm, [run], "test", "ten_view"), 1, 10)
        center = _wrong(probabilities[:, 0, CENTER], labels)
        gains.append(center - _wrong(probabilities.mean((1, 2)), labels))
    return _mean(gains)


def gain_of_ensemble(arm: Arm) -> list[float]:
    """Return for each test image the share of members that err, minus 1 if the ensemble does."""
    folder = _evaluated(arm, arm.runs, "test", "center")
    probabilities, labels = _probabilities(folder, len(arm.runs), 1)
    members = [_wrong(probabilities[:, m].mean(1), labels) for m in range(probabilities.shape[1])]
    together = _wrong(probabilities.mean((1, 2)), labels)
    return (np.mean(members, axis=0) - together).tolist()


def gain_of_rejection(arm: Arm) -> list[float]:
    """Return of each run how far its error falls when the least certain images are rejected.

    target: the share of rejected images. Certainty is the probability of the predicted class.
    """
    assert arm.target is not None
    curves = [_errors_of_rest(arm, run, (0, arm.target)) for run in arm.runs]
    return [of_all - of_rest for of_all, of_rest in curves]


REJECTED = (0.0, 0.01, 0.02, 0.05, 0.1)
"""The shares of rejected images that a row shows."""


def rejection_curve(arm: Arm) -> list[tuple[float, float]]:
    """Return the error of the rest at a few shares of rejected images, the mean of the runs."""
    errors = np.mean([_errors_of_rest(arm, run, REJECTED) for run in arm.runs], axis=0)
    return list(zip(REJECTED, errors.tolist(), strict=True))


def _errors_of_rest(arm: Arm, run: PlannedRun, shares: Sequence[float]) -> list[float]:
    probabilities, labels = _probabilities(_evaluated(arm, [run], "test", "center"), 1, 1)
    mean = probabilities.mean((1, 2))
    certainty, wrong = (torch.from_numpy(part) for part in (mean.max(1), _wrong(mean, labels)))
    return errors_of_rest(certainty, wrong, shares)


CENTER = 4
"""Number of the central crop among ten views."""


def _mean(gains: Sequence[np.ndarray]) -> list[float]:
    found: list[float] = np.mean(gains, axis=0).tolist()
    return found


def _wrong(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1.0 for each image that is misclassified. probabilities [N,K], labels [N]."""
    return (probabilities.argmax(1) != labels).astype(float)


def _test_error(run: PlannedRun) -> float:
    error = run.folder.status().get("test_error")
    if not isinstance(error, float | int):
        raise DataError("the run has no test error", str(run.path))
    return float(error)


def _logged(run: PlannedRun, key: str) -> list[tuple[int, float]]:
    """Return (step, value) wherever a run has logged the key. Raises DataError where it has not."""
    lines = regular.lines(run.folder.metrics_file, MOST_METRICS_BYTES)
    try:
        rows = [json.loads(line) for line in lines]
        found = [(int(row["step"]), float(row[key])) for row in rows if key in row]
    except (*DAMAGE, RecursionError) as error:
        where = str(run.folder.metrics_file)
        raise DataError("the figures of a run are damaged", where, ANEW) from error
    if not found:
        raise DataError(f"the run has logged no {key}", str(run.path))
    return found


def _updates_to(target: float, losses: Sequence[tuple[int, float]]) -> float | None:
    for end in range(min(WINDOW, len(losses)), len(losses) + 1):
        window = losses[max(0, end - WINDOW) : end]
        if sum(loss for _, loss in window) / len(window) < target:
            return float(window[-1][0])
    return None


def _evaluated(arm: Arm, runs: Sequence[PlannedRun], split: str, views: str) -> Path:
    """Return the folder of an evaluation, which is made if it is not there.

    The probabilities of every image are kept, of training images the errors alone.
    """
    names = runs[0].path.name if len(runs) == 1 else f"ensemble_of_{len(runs)}_{runs[0].path.name}"
    folder = arm.evaluations / f"{names}_{split}_{views}"
    regular.check_folder(folder)
    if (folder / f"evaluation_{split}_{views}.json").is_file():
        return folder

    config = EvaluateConfig(
        checkpoint=[str(run.path) for run in runs],
        dataset=runs[0].config.dataset,
        split=split,
        evaluation=parse(EvaluationConfig, choices.alone("evaluation", views)),
        runtime=runs[0].config.runtime,
        weights=None,
        which_weights=None,
        batch_size=EVALUATION_BATCH,
        save_probabilities=split == "test",
        output=str(folder),
        format="json",
        plugins=[],
    )
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluation.measure(config, arm.here, folder)
    report.write(result, folder, "cnnlab reproduce")  # last: it says that the evaluation is whole
    return folder


DAMAGE = (ValueError, TypeError, KeyError, OverflowError)
ANEW = "remove its folder, and it is made anew"


def _error_of(folder: Path) -> float:
    try:
        (path,) = folder.glob("evaluation_*.json")
        return float(regular.read_json(path)["top1_error"])
    except DAMAGE as error:
        raise DataError("an evaluation is damaged", str(folder), ANEW) from error


def _probabilities(folder: Path, num_members: int, num_views: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities [N,M,V,K] of members and views, and labels [N]."""
    labels = arrays.load(folder / "labels.npy", np.int64, (None,), ANEW)
    shape = (len(labels), num_members, num_views, None)
    return arrays.load(folder / "probabilities.npy", np.float32, shape, ANEW), labels
