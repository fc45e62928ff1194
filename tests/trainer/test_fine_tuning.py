"""Training that begins with a checkpoint, on a folder of pictures of one's own."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from cnnlab import checkpoint
from cnnlab.checkpoint import Checkpoint
from cnnlab.cli import main
from cnnlab.inference.network import open_network
from tests.app.test_evaluate import write_checkpoint

LEAN = [
    "dataset=folder",
    "dataset.mirror_allowed=false",
    "logging.report=false",
    "logging.tensorboard=false",
    "runtime.device=cpu",
    "runtime.num_threads=1",
    "trainer.epochs=2",
    "trainer.batch_size=8",
]
NEW_HEAD = "model.replace_head=true"


def write_pictures(root: Path, class_names: list[str]) -> Path:
    """Write colored 40x40 pictures, four a class for training and two for testing."""
    generator = torch.Generator().manual_seed(0)
    for split, number in (("train", 4), ("test", 2)):
        for name in class_names:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = torch.randint(0, 256, (40, 40, 3), generator=generator).byte()
                Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A LeNet-5 for ten digits (old.safetensors) and pictures of three classes (own)."""
    folder = tmp_path_factory.mktemp("fine_tuning")
    write_checkpoint(folder / "old.safetensors", network="lenet5", seed=3)
    write_pictures(folder / "own", ["ant", "bee", "fly"])
    return folder


def train(home: Path, run: Path, *words: str, weights: str = "old.safetensors") -> int:
    given = [f"dataset.root={home / 'own'}", f"model.weights={home / weights}"]
    return main(["train", *LEAN, *given, f"hydra.run.dir={run}", *words])


def stored(run: Path) -> Checkpoint:
    return checkpoint.read(run / "checkpoints" / "last.safetensors")


@pytest.fixture(scope="module")
def tuned(home: Path, tmp_path_factory) -> tuple[Path, str]:
    """A run that trains the head alone, the text it showed; its weights are gone afterwards."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    shutil.copy(home / "old.safetensors", home / "moved.safetensors")
    choice = [NEW_HEAD, "model.train_layers=head"]
    assert train(home, run, *choice, weights="moved.safetensors") == 0
    (home / "moved.safetensors").unlink()
    return run, (run / "train.log").read_text()


def test_frozen_layers_stay_bit_identical_and_have_no_optimizer_state(home, tuned):
    old, new = checkpoint.read(home / "old.safetensors"), stored(tuned[0])
    kept = [name for name in old.tensors if not name.startswith("model.output.")]
    assert len(kept) == 8 + 2  # four layers; mean and deviation
    assert all(torch.equal(old.tensors[name], new.tensors[name]) for name in kept)
    assert new.tensors["model.output.weight"].shape == (3, 84)
    state = {name for name in new.tensors if name.startswith("optimizer.")}
    assert state == {f"optimizer.output.{kind}.momentum_buffer" for kind in ("weight", "bias")}
    assert new.tensors["optimizer.output.weight.momentum_buffer"].any()


def test_the_run_says_what_it_began_with_and_what_trains(tuned):
    said = tuned[1]
    assert "moved.safetensors: lenet5" in said
    assert "last layer output: new, for 3 classes" in said
    assert "trained     output: 255 of 61,111 parameters; frozen: c1, c3, c5, f6" in said


def test_the_images_come_as_the_checkpoint_saw_its_own(tuned):
    config = yaml.safe_load((tuned[0] / "config.yaml").read_text())["dataset"]
    found = {key: config[key] for key in ("channels", "image_size_pixels", "pad_pixels")}
    assert found == {"channels": 1, "image_size_pixels": 32, "pad_pixels": 2}
    assert config["normalize"] == "checkpoint"


def test_resuming_needs_the_weights_file_no_more(home, tuned):
    before = stored(tuned[0])
    assert main(["train", f"resume={tuned[0]}", "trainer.epochs=3"]) == 0
    after = stored(tuned[0])
    assert after.document["step"] == 1.5 * before.document["step"]
    assert torch.equal(after.tensors["input.mean"], before.tensors["input.mean"])
    assert torch.equal(after.tensors["model.c1.weight"], before.tensors["model.c1.weight"])
    output = "model.output.weight"
    assert not torch.equal(after.tensors[output], before.tensors[output])
    assert open_network(tuned[0] / "checkpoints" / "last.safetensors", torch.device("cpu"))


def test_what_the_command_says_about_the_images_stays_as_said(home, tmp_path):
    run = tmp_path / "run"
    words = ["dataset.normalize=channel", "model.train_layers=from:f6", "trainer.epochs=1"]
    assert train(home, run, NEW_HEAD, *words) == 0
    old, new = checkpoint.read(home / "old.safetensors"), stored(run)
    assert not torch.equal(old.tensors["input.mean"], new.tensors["input.mean"])
    assert torch.equal(old.tensors["model.c5.weight"], new.tensors["model.c5.weight"])
    assert not torch.equal(old.tensors["model.f6.weight"], new.tensors["model.f6.weight"])


def test_the_same_classes_in_another_order_keep_the_head(home, tmp_path):
    order = torch.arange(9, -1, -1)
    write_checkpoint(tmp_path / "back.safetensors", network="lenet5", seed=3, order=order)
    write_pictures(tmp_path / "own", list("0123456789"))
    words = ["model.train_layers=head", "optimizer.learning_rate=1e-30", "trainer.epochs=1"]
    run = tmp_path / "run"
    assert train(tmp_path, run, *words, weights="back.safetensors") == 0
    old, new = checkpoint.read(home / "old.safetensors"), stored(run)
    assert torch.equal(old.tensors["model.output.weight"], new.tensors["model.output.weight"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "model.replace_head=true trains a new last layer (output)"),
        ([NEW_HEAD, "model.train_layers=from:c9"], 2, "these have: c1, c3, c5, f6, output"),
        ([NEW_HEAD, "model=mlp"], 4, "fc1 is not in the checkpoint"),
        ([NEW_HEAD, "model=alexnet_2014"], 4, "of another network, lenet5"),
        ([NEW_HEAD, "augment.crop_pixels=28"], 2, "takes images of 32 pixels, it would get 28"),
        ([NEW_HEAD, "dataset.channels=3"], 2, "dataset.channels=3 does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_key_or_the_layers(
    home, tmp_path, capsys, words, code, said
):
    assert train(home, tmp_path / "run", *words) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown.strip().splitlines()) <= 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("no.safetensors", 4, "no such"), ("a.pth", 4, "no such"), ("own", 4, "here")],
)
def test_files_that_are_no_checkpoints_are_refused(home, tmp_path, capsys, name, code, said):
    assert train(home, tmp_path / "run", NEW_HEAD, weights=name) == code
    assert said in capsys.readouterr().err


def test_keys_without_an_effect_are_refused(tmp_path, capsys):
    for words, said in (
        ([NEW_HEAD], "no effect without model.weights"),
        (["dataset.normalize=checkpoint"], "needs a checkpoint"),
        (["model.train_layers=tail"], "all, head or from:LAYER"),
    ):
        assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
        assert said in capsys.readouterr().err
