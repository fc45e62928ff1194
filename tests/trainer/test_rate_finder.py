"""`cnnlab train schedule=range_test`: with every optimizer, to the end or to an explosion."""

import csv
import json
from pathlib import Path

import pytest

from cnnlab.cli import main
from cnnlab.config.training import OPTIMIZERS

ALWAYS = [
    *("schedule=range_test", "runtime.num_threads=1", "runtime.device=cpu", "hydra.run.dir=found"),
    *("logging.images_every_epochs=null", "trainer.epochs=10", "trainer.clip_gradient_norm=null"),
]
TINY = [
    *("dataset=synthetic", "dataset.num_train=32", "dataset.num_test=8", "dataset.num_classes=4"),
    *("dataset.num_validation=8", "dataset.image_size_pixels=8", "model=linear", "augment=none"),
    *("trainer.batch_size=8", "trainer.limit_train_batches=3"),
]
OF_1998 = [
    *("experiment=lenet5_1998", "trainer.limit_train_batches=1", "trainer.batch_size=2"),
    "optimizer.num_curvature_images=2",
]
WORDS = {
    "sgd": [*TINY, "schedule.last_fraction=1e30"],
    "sgd_2012": ["experiment=cifar_13pct_cifar10", *TINY, "schedule.last_fraction=1e30"],
    "adamw": [*TINY, "optimizer=adamw"],
    "levenberg_marquardt": OF_1998,
}
"""Words for each optimizer. Rates of 1e29 end in a loss that is not finite.

The experiment of sgd_2012 has a schedule, a model and a data set with keys that these have not.
"""

GROUP = "optimizer.groups=[{parameters:biases,rate_factor:2}]"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_range_test_ends_with_a_curve_and_no_error(
    optimizer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shows = optimizer == "sgd"
    words = [*ALWAYS, *WORDS[optimizer], GROUP, f"logging.tensorboard={str(shows).lower()}"]
    assert main(["train", *words]) == 0

    facts = json.loads(Path("found/run.json").read_text())
    assert facts["status"] == "done"
    assert facts["suggested_rate"] is None or facts["suggested_rate"] > 0
    assert "test_error" not in facts
    with open("found/range_test.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == sorted(rates)
    has_exploded = "the loss exploded at" in (facts["stop_reason"] or "")
    assert has_exploded or len(rows) == (10 if optimizer == "levenberg_marquardt" else 30)
    assert has_exploded == optimizer.startswith("sgd")
    assert Path("found/range_test.png").read_bytes().startswith(b"\x89PNG")
    assert "range test: " in capsys.readouterr().out
    if shows:
        events = b"".join(path.read_bytes() for path in Path("found/tensorboard").iterdir())
        assert b"range_test/loss" in events


@pytest.mark.parametrize(
    "word",
    ["trainer.early_stop_epochs=2", "ensemble.members=2", "evaluation=ten_view",
     "logging.report=true", "trainer.validate_every_epochs=2"],
)  # fmt: skip
def test_what_needs_a_test_of_the_network_is_refused(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *ALWAYS, *TINY, word]) == 2
    assert f"{word.partition('=')[0]} has no effect" in capsys.readouterr().err
