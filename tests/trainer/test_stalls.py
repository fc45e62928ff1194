"""`train` looks before it leaps: what it says of starts that stall, and of networks that guess."""

import json
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.config import parse_train
from cnnlab.config.models import MODELS
from cnnlab.console import Console
from cnnlab.data.store import ArrayStore
from cnnlab.models.init_report import report_start
from cnnlab.run_folder import RunFolder
from cnnlab.trainer import stalls
from cnnlab.trainer.assemble import assemble
from cnnlab.trainer.member_processes import MemberProcesses
from cnnlab.trainer.stalls import StallWatch, chance_error, chance_loss
from tests.test_config import composed

LEAN = (
    "logging.report=false", "logging.tensorboard=false", "logging.progress=false",
    "runtime.device=cpu", "runtime.num_threads=1",
)  # fmt: skip
PAPER = ("model=alexnet_two_tower", "model.width=0.25", "model.initialization=paper")
SETS = {
    "mnist5k": ("dataset=mnist5k",),
    "synthetic": ("dataset=synthetic", "dataset.num_train=300", "dataset.num_test=20"),
}
SIXTY_FOUR = "dataset.image_size_pixels=64"
SPECIAL = {
    "alexnet_two_gpu": ("model.devices=[cpu,cpu]",),
    "lenet5_1998": ("dataset.channels=1",),
    "cifar_11pct": ("dataset.image_size_pixels=24",),
    "zfnet": ("model.width=0.25", "dataset.image_size_pixels=64"),
}


def assembled(*words: str):
    return assemble(parse_train(composed("train", *LEAN, *words)), torch.device("cpu"))


def train(run: Path, *words: str) -> dict:
    """Train a few updates; return run.json."""
    few = ("trainer.epochs=1", "trainer.limit_train_batches=2", "trainer.batch_size=4")
    assert main(["train", *LEAN, *few, f"hydra.run.dir={run}", *words]) == 0
    found = json.loads((run / "run.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture
def watched(tmp_path: Path):
    """Return a function: words of a command -> (its parts, a watch over them, its run folder)."""

    def watch(*words: str):
        parts, folder = assembled(*words), RunFolder(tmp_path)
        return parts, StallWatch(parts, folder, Console(progress=False)), folder

    return watch


def test_a_start_that_stalls_is_told_with_what_to_change(tmp_path: Path, capsys) -> None:
    facts = train(tmp_path / "run", *PAPER, SIXTY_FOUR)

    shown = [line for line in capsys.readouterr().out.splitlines() if "likely to stall" in line]
    assert shown == [facts["warnings"]["start"]]
    assert "with model.initialization=kaiming: " in shown[0]
    assert facts["start"]["score_share"] < 0.001
    assert shown[0] in (tmp_path / "run" / "train.log").read_text()


def test_what_is_advised_starts(watched) -> None:
    _, watch, _ = watched(*PAPER[:2], SIXTY_FOUR, "model.initialization=kaiming")
    watch.before_training()

    assert watch.folder.status()["start"]["score_share"] > 0.1
    assert "warnings" not in watch.folder.status()


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize("model", sorted(MODELS))
def test_no_model_is_called_a_stall_at_its_defaults(model: str, dataset: str, watched) -> None:
    size = (SIXTY_FOUR,) if model.startswith("alexnet") and model != "alexnet_cifar" else ()
    words = [f"model={model}", *SETS[dataset], *size, *SPECIAL.get(model, ())]
    _, watch, folder = watched(*words)
    watch.before_training()

    assert folder.status()["start"]["score_share"] > 0
    assert "warnings" not in folder.status()


@pytest.mark.parametrize(
    ("words", "stalls"),
    [
        (("model=lenet5", "model.activation=sigmoid", "model.pooling=average"), False),
        (("model=mlp", "model.activation=sigmoid"), False),
        (("model=lenet5", "model.activation=tanh"), False),
        (
            ("model=lenet5", "model.activation=sigmoid", "model.pooling=average",
             "model.initialization=xavier"), True,
        ),
        (("model=lenet5_1998", "model.initialization=literal"), True),
        (("model=alexnet", "model.width=0.25", "model.initialization=caffe", SIXTY_FOUR), True),
        (("model=mlp", "model.hidden_units=[9,9,9,9,9,9]", "model.activation=sigmoid"), True),
    ],
)  # fmt: skip
def test_squashing_units_and_distances_are_judged_as_they_train(words, stalls, watched) -> None:
    _, watch, folder = watched(*words)
    watch.before_training()

    assert ("start" in folder.status().get("warnings", {})) is stalls


def test_a_rule_that_scales_each_step_needs_less_signal() -> None:
    xavier = ("model.activation=sigmoid", "model.pooling=average", "model.initialization=xavier")
    parts = assembled("model=lenet5", *xavier)
    report = report_start(parts.network, stalls.example_images(parts))

    assert not report.is_enough()
    assert report.is_enough(adaptive=True)


def test_looking_changes_no_bit_of_the_training(tmp_path: Path, monkeypatch) -> None:
    words = ("model.dropout=0.5", "augment=crop", "optimizer=adamw")
    train(tmp_path / "seen", *words)
    monkeypatch.setattr(StallWatch, "before_training", lambda watch: None)
    monkeypatch.setattr(StallWatch, "after_epoch", lambda *_: None)
    train(tmp_path / "unseen", *words)
    seen, unseen = (
        checkpoint.read(tmp_path / run / "checkpoints" / "last.safetensors").tensors
        for run in ("seen", "unseen")
    )

    assert all(torch.equal(seen[name], unseen[name]) for name in seen | unseen)


@pytest.mark.slow
def test_a_resumed_run_is_not_looked_at_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, *PAPER, SIXTY_FOUR)
    assert main(["train", f"resume={run}", "trainer.epochs=2"]) == 0

    assert (run / "train.log").read_text().count("likely to stall") == 1


def test_an_epoch_at_chance_level_is_told_once(watched, capsys) -> None:
    _, watch, folder = watched("model=lenet5")
    watch.after_epoch(50, 1, {"train/loss": 2.3, "validation/top1_error": 0.9})
    assert "warnings" not in folder.status()  # too soon to tell

    for epoch in (2, 3):
        watch.after_epoch(100, epoch, {"train/loss": 2.3, "validation/top1_error": 0.895})
    said = folder.status()["warnings"]["chance"]
    assert "after epoch 2 the validation error (89.5%) is at chance level" in said
    assert "optimizer.learning_rate=0.01" in said
    assert capsys.readouterr().out.count("chance level") == 1


def test_an_epoch_that_learned_is_not_told(watched) -> None:
    _, watch, folder = watched("model=lenet5")
    watch.after_epoch(100, 2, {"train/loss": 2.3, "validation/top1_error": 0.85})

    assert "warnings" not in folder.status()


@pytest.mark.parametrize(("loss", "told"), [(2.31, True), (2.2, False)])
def test_without_validation_images_the_training_loss_tells(loss, told, watched) -> None:
    _, watch, folder = watched("model=lenet5", "dataset.num_validation=0")
    watch.after_epoch(100, 2, {"train/loss": loss})

    assert ("chance" in folder.status().get("warnings", {})) is told


def test_a_layer_whose_units_all_died_is_named(watched) -> None:
    parts, watch, folder = watched("model=lenet5")
    learned = {"train/loss": 1.0, "validation/top1_error": 0.3}
    watch.after_epoch(100, 2, learned)
    assert "warnings" not in folder.status()

    with torch.no_grad():
        parts.network.get_submodule("c5").bias.fill_(-1e4)
    watch.after_epoch(200, 4, learned)
    assert "all units of relu5 are 0" in folder.status()["warnings"]["dead"]
    assert parts.network.training


def test_one_batch_that_is_shown_for_ever_is_no_stall(watched) -> None:
    _, watch, folder = watched("model=lenet5", "trainer.overfit_one_batch=true")
    watch.after_epoch(100, 2, {"train/loss": 0.0, "validation/top1_error": 0.9})

    assert "warnings" not in folder.status()


def test_chance_is_predicting_the_most_frequent_class() -> None:
    store = assembled("model=linear").splits.validation
    assert chance_error(store) == pytest.approx(0.9 - 2 * (0.09 / 500) ** 0.5)
    assert chance_loss(store) == pytest.approx(2.302585)
    assert chance_loss(store, label_smoothing=0.3) == pytest.approx(2.302585)


def test_the_chance_loss_is_the_least_that_a_constant_answer_reaches() -> None:
    """Against torch's loss of the best constant scores, found by descent."""
    images, labels = torch.zeros(20, 1, 1, 1, dtype=torch.uint8), torch.tensor([0] * 15 + [1] * 5)
    store = ArrayStore("tiny", "train", images, labels, ("cat", "dog"), False)
    for smoothing, weights in ((0.0, [1.0, 1.0]), (0.2, [1.0, 1.0]), (0.2, [1.0, 3.0])):
        scale = torch.tensor(weights, dtype=torch.float64)
        loss = torch.nn.CrossEntropyLoss(weight=scale, label_smoothing=smoothing)
        scores = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        for _ in range(200):
            (slope,) = torch.autograd.grad(loss(scores.expand(20, 2), labels), scores)
            scores = (scores - 2 * slope).detach().requires_grad_()
        least = float(loss(scores.detach().expand(20, 2), labels))
        assert chance_loss(store, smoothing, scale) == pytest.approx(least, rel=1e-9)


def test_an_ensemble_tells_of_its_members_once(tmp_path: Path, capsys) -> None:
    config = parse_train(composed("train", *LEAN))
    members = [tmp_path / name for name in ("00_seed0", "01_seed1")]
    for seed, path in enumerate(members):
        path.mkdir()
        RunFolder(path).update_status(warnings={"start": f"warning: {seed} % of the scores"})
    processes = MemberProcesses(members, config, Console(progress=False), [])
    for path in members * 2:
        processes._pass_on_warnings(path)

    shown = capsys.readouterr().out.splitlines()
    assert shown == ["00_seed0: warning: 0 % of the scores"]
