"""Fine-tuning keeps what was learned: on few pictures it is ahead of training from scratch."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from cnnlab.cli import main
from cnnlab.data.mnist5k import find_file, read_digits

LEAN = (
    "logging.report=false", "logging.tensorboard=false", "logging.progress=false",
    "logging.images_every_epochs=null",
    "runtime.device=cpu", "runtime.num_threads=1", "dataset=folder",
    "dataset.mirror_allowed=false", "dataset.image_size_pixels=32", "augment=none",
)  # fmt: skip


def write_digits(root: Path, digits: range, num_train: int, num_test: int) -> Path:
    """Write real digits as pictures, a folder a class."""
    images, labels = read_digits(find_file())
    for digit in digits:
        pictures = images[labels == digit][: num_train + num_test]
        for i, picture in enumerate(pictures):
            split = "train" if i < num_train else "test"
            folder = root / split / f"digit {digit}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.squeeze()).save(folder / f"{i:03}.png")
    return root


def train(root: Path, run: Path, *words: str) -> float:
    """Train; return the test error."""
    assert main(["train", *LEAN, f"dataset.root={root}", f"hydra.run.dir={run}", *words]) == 0
    return float(json.loads((run / "run.json").read_text())["test_error"])


def rate_of(run: Path) -> float:
    return float(yaml.safe_load((run / "config.yaml").read_text())["optimizer"]["learning_rate"])


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A LeNet-5 that has learned the digits 0 to 5 (old), and few pictures of 6 to 9 (few)."""
    folder = tmp_path_factory.mktemp("digits")
    many = write_digits(folder / "many", range(6), num_train=80, num_test=10)
    train(many, folder / "old", "model=lenet5", "trainer.epochs=4", "trainer.batch_size=16")
    write_digits(folder / "few", range(6, 10), num_train=8, num_test=50)
    return folder


@pytest.fixture(scope="module")
def runs(home: Path) -> tuple[Path, Path, float, float]:
    """Two runs of 16 updates on the few pictures, from the weights and from scratch."""
    tuned, scratch = home / "tuned", home / "scratch"
    equal = ("trainer.epochs=4", "trainer.batch_size=8")
    begin = (f"model.weights={home / 'old'}", "model.replace_head=true")
    return (
        tuned,
        scratch,
        train(home / "few", tuned, *equal, *begin),
        train(home / "few", scratch, *equal),
    )


def test_fine_tuning_is_ahead_of_training_from_scratch_at_equal_updates(runs) -> None:
    _, _, tuned_error, scratch_error = runs

    assert tuned_error < 0.25
    assert tuned_error < scratch_error - 0.15


def test_training_that_begins_with_weights_defaults_to_a_tenth_of_the_rate(runs) -> None:
    tuned, scratch, _, _ = runs

    assert rate_of(tuned) == pytest.approx(rate_of(scratch) / 10)


def test_a_resumed_fine_tuning_keeps_its_rate(runs) -> None:
    tuned = runs[0]
    before = rate_of(tuned)
    assert main(["train", f"resume={tuned}", "trainer.epochs=5"]) == 0

    assert rate_of(tuned) == before
