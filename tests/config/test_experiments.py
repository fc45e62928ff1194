"""What the experiments train with does not move when a default does."""

import json
from typing import Any

import pytest

from cnnlab.app import list as listing
from cnnlab.config import DATASETS, choices
from tests.golden import experiments
from tests.test_config import composed

HELD: dict[str, dict[str, Any]] = json.loads(experiments.FILE.read_text(encoding="utf-8"))
"""Every experiment as it was composed before models had recipes (commit 9c9494a), or when new."""

YOUNGER: dict[str, Any] = {
    "model.width": 1.0,
    "dataset.on_bad": "fail",
    "optimizer.groups": [],
    "augment.color_epochs": None,
    "trainer.max_filter_rms": None,
    "model.conv6": False,
    "model.half_kernels": False,
    "model.exchange": "conv3",
    "dataset.train_subset": None,
    "loss.label_smoothing": 0.0,
    "ema.decay": None,
    "which_weights": "raw",
    "model.which_weights": None,
    "loss.class_weights": None,
    "loss.name": "default",
    "writer.name": "none",
    "saving.keep_spread": 0,
    "logging.histograms_every_steps": None,
    "logging.embedded_images": 256,
    "runtime.capture": "auto",
    "runtime.kernels": "auto",
    "runtime.fused_update": False,
    "runtime.fast_evaluation": False,
    "dataset.num_readers": 1,
    "dataset.decode": "host",
    "distributed.scheme": "data",
    "distributed.fc_batch": None,
    "distributed.simulate": None,
}
"""Settings that came after the file was written, at the value that changes nothing that trains."""


def group(
    layers: list[str] | None, parameters: str, at_epochs: list[float], fractions: list[float]
) -> dict[str, Any]:
    """Return a parameter group with a schedule of its own, every key written."""
    what = {"layers": layers, "parameters": parameters, "rate_factor": None, "weight_decay": None}
    return {**what, "at_epochs": at_epochs, "fractions": fractions}


OF_RUN_145: dict[str, Any] = {
    "schedule.at_epochs": [25.0, 51.0, 79.0],
    "trainer.epochs": 91,
    "augment.color_epochs": 67,
    "optimizer.groups": [
        group(["conv1"], "weights", [67.0, 72.0], [0.001, 0.0]),
        group(["conv1"], "biases", [0.0, 72.0], [1.0, 0.0]),
        group(None, "biases", [0.0], [1.0]),
    ],
}
IN_HALF_THE_TIME: dict[str, Any] = {
    "trainer.epochs": 25,
    "model.dropout": 0.0,
    "optimizer.learning_rate": 0.06,
    "loss.label_smoothing": 0.1,
}
MOVED: dict[str, dict[str, Any]] = {
    "debug": {"trainer.clip_gradient_norm": 1.0, "logging.embedded_images": 32},
    "alexnet_2012_source": OF_RUN_145,
    "lenet5_1998": {"augment.squeeze_fraction": 0.1},
    "quickstart": IN_HALF_THE_TIME,
    "lenet5_fashion_fast": {"runtime.capture": "auto"},
}
"""What was changed on purpose since then: experiment -> setting -> its value now.

`debug` names no values of its own: it tries out whatever training defaults to.
`alexnet_2012_source` had the schedule of the 2010 run, `lenet5_1998` no squeezing.
`quickstart` had 50 epochs with dropout 0.1.
"""


def flat(plain: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return dotted keys and their values."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{where}{key}.") if inner else {f"{where}{key}": value}
    return found


@pytest.mark.parametrize("experiment", HELD)
def test_an_experiment_trains_with_what_it_did(experiment: str) -> None:
    now, held = flat(experiments.composed(experiment)), flat(HELD[experiment])

    younger = {key: value for key, value in YOUNGER.items() if key in now}
    assert now == younger | held | MOVED.get(experiment, {})


def test_no_experiment_is_left_out() -> None:
    assert set(choices.choices("experiment")) == set(HELD), "python -m tests.golden.experiments"


SEEN_ALIKE = ("normalize", "image_size_pixels")
"""What an experiment's network is made for, on whatever images."""

EXPERIMENTS = sorted(set(choices.choices("experiment")) - {"debug"})


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_says_itself_how_its_network_sees_images(experiment: str) -> None:
    """What it leaves to the file of its data set would be lost with `dataset=ANOTHER`."""
    own = choices.read(choices.configs_folder() / "experiment" / f"{experiment}.yaml")

    assert set(SEEN_ALIKE) <= set(own["dataset"])


def seen(*words: str) -> dict[str, Any]:
    dataset = composed("train", *words)["dataset"]
    return {key: dataset[key] for key in SEEN_ALIKE}


def test_another_set_is_seen_as_the_experiments_own() -> None:
    own = seen("experiment=alexnet_2012_paper")

    assert seen("experiment=alexnet_2012_paper", "dataset=mnist5k") == own
    assert own == {"normalize": "pixel", "image_size_pixels": 256}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_set_is_seen_as_the_experiments_own(experiment: str) -> None:
    own = seen(f"experiment={experiment}")

    for dataset in DATASETS:
        assert seen(f"experiment={experiment}", f"dataset={dataset}") == own, dataset


@pytest.mark.parametrize("experiment", choices.choices("experiment"))
def test_an_experiments_figures_have_a_line_each(experiment: str) -> None:
    row = next(row for row in listing.experiments() if row["name"] == experiment)

    assert all(row[word] for word in ("source", "command", "published", "measured"))
    assert "none yet" not in row["measured"], "say why there is none"
