"""One rule decides the views: training's last test, evaluate, predict and visualize agree."""

import copy
import itertools
import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from cnnlab import checkpoint, session
from cnnlab.cli import main
from cnnlab.command import composing
from cnnlab.config import TrainConfig, parse_train, to_plain
from cnnlab.config.augment import AUGMENTS
from cnnlab.config.evaluation import EVALUATIONS
from cnnlab.errors import UsageError
from cnnlab.evaluation.evaluate import Member
from cnnlab.evaluation.views import Views
from cnnlab.inference import members
from cnnlab.inference.members import as_member
from cnnlab.inference.network import open_network
from cnnlab.inference.predictor import open_predictor
from cnnlab.inference.probing import central_view
from cnnlab.models import kernels
from cnnlab.trainer.assemble import Assembly, assemble
from tests.test_config import composed, unresolved

CPU = torch.device("cpu")
LEAN = ["model=linear", "dataset.num_validation=20", "runtime.num_threads=1", "runtime.device=cpu"]
SETS = {
    "images": ["dataset=synthetic", "dataset.image_size_pixels=32", "dataset.num_train=60"],
    "digits": ["dataset=mnist5k"],
}
SMALLER = ["alexnet", "resized_crop"]
"""Augmentations whose crops have a size that has to fit the images."""


def settings_of(augment: str, views: str, images: str, border: int | None) -> TrainConfig:
    """Return what `words_of` asks for: the views are a section of their own, composed once."""
    asked = words_of(augment, views, images, border)
    of_the_rest = [word for word in asked if "evaluation" not in word]
    whole = copy.deepcopy(unresolved("train", *LEAN, *of_the_rest))
    whole.evaluation = unresolved("train", f"evaluation={views}").evaluation
    if f"evaluation.padding_pixels={border}" in asked:
        whole.evaluation.padding_pixels = border
    return parse_train(composing.settle(whole))


def assembled(*words: str) -> Assembly:
    return assemble(parse_train(composed("train", *LEAN, *words)), CPU)


def words_of(augment: str, views: str, images: str, border: int | None) -> list[str]:
    words = [*SETS[images], f"augment={augment}", f"evaluation={views}"]
    if augment in SMALLER:
        words.append("augment.crop_pixels=24")
    if images == "digits" and augment in ("crop_mirror", *SMALLER):
        words.append("augment.force_mirror=true")
    if border is not None and views != "center":
        words.append(f"evaluation.padding_pixels={border}")
    return words


def saved(parts: Assembly, path: Path) -> Path:
    """Write the network of an assembly with everything that evaluation reads of a checkpoint."""
    network = parts.network
    inputs, described = parts.preprocessing.state()
    weights = {f"model.{name}": value for name, value in network.state_dict().items()}
    document = {
        "config": to_plain(parts.config),
        "class_names": list(parts.splits.train.class_names),
        "model": {
            "in_channels": network.in_channels,
            "input_size_pixels": network.input_size_pixels,
            "num_classes": network.num_classes,
        },
        "input": described,
    }
    checkpoint.write(path, weights | inputs, document)
    return path


def evaluated(path: Path, parts: Assembly) -> Member:
    test, config = parts.splits.test, parts.config
    return as_member(
        open_network(path, CPU),
        config.evaluation,
        class_names=test.class_names,
        mirror_allowed=test.mirror_allowed,
        dataset=test.name,
    )


def predicting(path: Path, config: TrainConfig) -> Member:
    here = session.begin(config.runtime)
    (member,) = open_predictor([str(path)], config.evaluation, here).members
    return member


CASES = [
    *((*case, None) for case in itertools.product(AUGMENTS, EVALUATIONS, SETS)),
    *((augment, views, "images", 3) for augment in ("none", "crop") for views in EVALUATIONS),
]
"""Augmentation, evaluation, images, border asked for."""


@pytest.mark.parametrize(("augment", "views", "images", "border"), CASES)
def test_training_evaluate_and_predict_agree_on_the_views(
    augment: str, views: str, images: str, border: int | None, tmp_path: Path
) -> None:
    parts = assemble(settings_of(augment, views, images, border), CPU)
    path = saved(parts, tmp_path / "a.safetensors")
    try:
        trained = parts.member(views)
    except UsageError:
        for refused in (lambda: evaluated(path, parts), lambda: predicting(path, parts.config)):
            with pytest.raises(UsageError):
                refused()
        return

    for other in (evaluated(path, parts), predicting(path, parts.config)):
        assert (other.views, other.crops_at_once) == (trained.views, trained.crops_at_once)


@pytest.mark.parametrize("case", [CASES[0], CASES[-1], ("crop_mirror", "ten_view", "digits", None)])
def test_the_views_are_a_section_of_their_own(case: tuple[str, str, str, int | None]) -> None:
    assert settings_of(*case) == parse_train(composed("train", *LEAN, *words_of(*case)))


def test_mirrored_views_are_for_networks_that_saw_mirror_images() -> None:
    forced = words_of("crop_mirror", "ten_view", "digits", None)
    assert assembled(*forced).member("ten_view").views.num_views == 10
    with pytest.raises(UsageError, match="mirrors images"):
        assembled(*words_of("crop", "ten_view", "digits", None)).member("ten_view")


def test_validation_sees_the_central_view_whatever_the_test_sees() -> None:
    parts = assembled(*words_of("crop", "five_crop", "images", 3))
    assert parts.member("center").views == Views("center", 32, 0)
    assert parts.member("five_crop").views == Views("five_crop", 32, 3)


def test_pictures_show_the_central_view() -> None:
    parts = assembled(*words_of("resized_crop", "center", "images", None))
    stored = parts.splits.test.read(torch.arange(4))
    seen = central_view(parts.preprocessing, parts.network.input_size_pixels)(stored)
    prepared = parts.preprocessing.prepare(stored.permute(0, 3, 1, 2))
    assert torch.equal(seen, parts.member("center").views(prepared)[:, 0])


@pytest.mark.parametrize(
    "words",
    [
        words_of("crop", "five_crop", "digits", None),
        words_of("crop_mirror", "ten_view", "images", None),
    ],
    ids=["five_crop", "ten_view"],
)
def test_the_figure_of_training_is_that_of_evaluate(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["trainer.epochs=1", "trainer.limit_train_batches=2", "trainer.batch_size=8"]
    quiet = ["logging.report=false", "logging.tensorboard=false", "hydra.run.dir=run"]
    assert main(["train", *LEAN, *few, *quiet, *words]) == 0
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    capsys.readouterr()

    views = [word for word in words if word.startswith("evaluation")]
    lean = ["runtime.device=cpu", "runtime.num_threads=1", "format=json"]
    assert main(["evaluate", "checkpoint=run", *views, *lean]) == 0
    assert json.loads(capsys.readouterr().out)["top1_error"] == told["test_error"]


def test_networks_that_auto_leaves_to_torch_on_a_gpu_are_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = mock.Mock(class_names=("a", "b"), path="x")
    monkeypatch.setattr(members, "open_network", mock.Mock(return_value=stored))
    here = session.Session(CPU, "fp32", channels_last=True, kernels="auto")
    for is_missed, said in (
        (True, "cnnlab: runtime.kernels=auto chose torch's: because\n"),
        (False, ""),
    ):
        chosen = mock.Mock(return_value=kernels.Chosen("torch's: because", is_missed))
        monkeypatch.setattr(kernels, "use", chosen)
        members.open_networks([Path("x"), Path("y")], here)
        assert chosen.call_args_list == [mock.call(stored.network, "auto")] * 2
        assert capsys.readouterr().err == said
