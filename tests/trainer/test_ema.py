"""`ema.decay` and `which_weights` from the command line's words to checkpoints and back."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import cnnlab
from cnnlab import checkpoint, session
from cnnlab.cli import main
from cnnlab.config import parse_evaluate, parse_train
from cnnlab.distributed import ALONE
from cnnlab.inference.evaluation import measure
from cnnlab.inference.result import EvaluationResult, document
from cnnlab.trainer import starting_weights
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.training.loop import TrainState
from tests.test_config import composed

QUICK = ("runtime.device=cpu", "runtime.num_threads=1")
SET = (
    "dataset=synthetic", "dataset.num_train=90", "dataset.num_validation=30",
    "dataset.num_test=40", "dataset.image_size_pixels=12", "dataset.noise_levels=90",
)  # fmt: skip
RUN = (
    "model=linear", "augment=none", "trainer.batch_size=20", "trainer.epochs=3",
    "optimizer.learning_rate=0.3", "saving.every_steps=1", "saving.keep=20", "logging.report=false",
    "logging.tensorboard=false", "logging.progress=false", "logging.images_every_epochs=null",
)  # fmt: skip
WORDS = ("train", *SET, *RUN, *QUICK)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three runs: without an average, with one, and with one that is judged.

    All see the same batches, so their own weights are the same.
    """
    folder = tmp_path_factory.mktemp("runs")
    words: dict[str, list[str]] = {
        "none": [],
        "kept": ["ema.decay=0.8"],
        "judged": ["ema.decay=0.8", "which_weights=ema"],
    }
    for name, own in words.items():
        assert main([*WORDS, *own, f"hydra.run.dir={folder / name}"]) == 0
    return folder


def last(run: Path) -> dict[str, Tensor]:
    return checkpoint.read(run / "checkpoints" / "last.safetensors").tensors


def facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def epochs(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def evaluated(run: Path, *words: str) -> EvaluationResult:
    """Return what `cnnlab evaluate` finds, without its report."""
    config = parse_evaluate(composed("evaluate", f"checkpoint=[{run}]", *QUICK, *words))
    with session.shared(config.runtime, 60) as here:
        return measure(config, here)


def test_an_average_changes_no_bit_of_the_training_and_without_one_nothing_is_kept(
    runs: Path,
) -> None:
    plain, kept, judged = (last(runs / name) for name in ("none", "kept", "judged"))
    for name, tensor in plain.items():
        assert torch.equal(tensor, kept[name])
        assert torch.equal(tensor, judged[name])
    added = kept.keys() - plain.keys()
    weights = {name.removeprefix("model.") for name in plain if name.startswith("model.")}
    assert added == {f"ema.{name}" for name in weights} | {"averaging.num_updates"}
    assert not any(torch.equal(kept[f"ema.{name}"], kept[f"model.{name}"]) for name in weights)


def test_the_average_in_a_checkpoint_is_that_of_the_saved_weights(runs: Path) -> None:
    """A slow loop over the weights of every step, which the run has saved."""
    files = sorted((runs / "kept" / "checkpoints").glob("step_*.safetensors"))
    expected: dict[str, Tensor] = {}
    for number, file in enumerate(files):
        weights = checkpoint.section(checkpoint.read(file).tensors, "model.")
        for name, now in weights.items():
            wide = now.double()
            expected[name] = wide if number == 0 else 0.8 * expected[name] + 0.2 * wide
    found = checkpoint.section(last(runs / "kept"), "ema.")
    assert len(files) == 9
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name].double(), wanted, rtol=1e-5, atol=1e-6)


def test_what_is_judged_chooses_the_best_and_both_errors_are_shown(runs: Path) -> None:
    for name, kind in (("kept", "raw"), ("judged", "ema")):
        rows = epochs(runs / name)
        for row in rows:
            assert row["validation/top1_error"] == row[f"validation/{kind}_top1_error"]
            assert row["validation/loss"] == row[f"validation/{kind}_loss"]
        errors = [float(row["validation/top1_error"]) for row in rows]
        assert facts(runs / name)["best_validation_error"] == min(errors)
        assert facts(runs / name)["which_weights"] == kind
    for kept, judged in zip(epochs(runs / "kept"), epochs(runs / "judged"), strict=True):
        for key in ("raw_loss", "ema_loss"):
            assert kept[f"validation/{key}"] == judged[f"validation/{key}"]
        assert kept["validation/raw_loss"] != kept["validation/ema_loss"]
    assert "validation/ema_loss" not in epochs(runs / "none")[0]
    log = (runs / "judged" / "train.log").read_text()
    assert "average     ema of the weights, decay 0.8 per update; ema weights are validated" in log
    assert "(raw " in log
    assert "the averaged network of step" in log


def test_evaluation_takes_the_judged_weights_and_others_when_asked(runs: Path) -> None:
    for name in ("kept", "judged"):
        assert evaluated(runs / name).tally.top1_error == facts(runs / name)["test_error"]
    raw, ema = (evaluated(runs / "judged", f"which_weights={kind}") for kind in ("raw", "ema"))
    assert ema.tally.cross_entropy != raw.tally.cross_entropy
    assert ema.tally.cross_entropy == evaluated(runs / "judged").tally.cross_entropy
    assert document(ema)["which_weights"] == ["ema"]
    assert "which_weights" not in document(raw)
    assert "moving average of the weights" in ema.title


@pytest.mark.slow
def test_the_report_of_weights_that_were_asked_for_is_a_file_of_its_own(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", f"checkpoint={runs / 'judged'}", "which_weights=raw", *QUICK]
    assert main(words) == 0
    assert "evaluation_test_center_raw.html" in capsys.readouterr().out


@pytest.mark.slow
def test_an_ensemble_says_how_many_members_are_averaged(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    both = f"checkpoint=[{runs / 'none'},{runs / 'judged'}]"
    assert main(["evaluate", both, f"output={tmp_path}", *QUICK]) == 0
    assert "moving average of the weights of 1 members" in capsys.readouterr().out


REFUSED = {
    "evaluate": ["evaluate", "checkpoint={run}", *QUICK],
    "predict": ["predict", "checkpoint={run}", "images={run}/../own.png", *QUICK],
    "visualize": ["visualize", "checkpoint={run}", "what=filters", *QUICK],
    "convert": ["convert", "source={run}", "output={run}/never.safetensors"],
    "ensemble": ["evaluate", "checkpoint=[{judged},{run}]", *QUICK],
}


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_a_checkpoint_has_not_are_refused_in_one_line(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"run": runs / "none", "judged": runs / "judged"}
    if name == "predict":
        Image.new("RGB", (12, 12)).save(runs / "own.png")
    words = [word.format(**places) for word in REFUSED[name]]
    assert main([*words, "which_weights=ema"]) == 4
    said = capsys.readouterr().err
    assert "best.safetensors has no moving average of the weights" in said
    assert len(said.splitlines()) == 1
    assert not (runs / "none" / "never.safetensors").exists()


def test_fine_tuning_starts_from_the_weights_asked_for(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(*words: str) -> Assembly:
        config = parse_train(composed("train", *SET, *RUN, *QUICK, *words))
        config, weights = starting_weights.resolve(config, words, ALONE)
        assert weights is not None
        stored = weights.checkpoint
        return assemble(config, torch.device("cpu"), checkpoint=stored, weights=weights)

    best = checkpoint.read(runs / "judged" / "checkpoints" / "best.safetensors").tensors
    source = f"model.weights={runs / 'judged'}"
    for word, kind in ((), "ema"), (("model.which_weights=raw",), "model"):
        parts = started(source, *word)
        for name, tensor in parts.network.state_dict().items():
            assert torch.equal(tensor, best[f"{kind}.{name}"])
        assert ("moving average" in parts.starting_weights[0]) == (kind == "ema")

    words = [f"model.weights={runs / 'none'}", "model.which_weights=ema"]
    assert main([*WORDS, *words, f"hydra.run.dir={tmp_path / 'never'}"]) == 4
    assert "has no moving average of the weights" in capsys.readouterr().err
    assert main([*WORDS, "model.which_weights=ema"]) == 2
    assert "no effect without model.weights" in capsys.readouterr().err


def test_a_converted_average_predicts_as_the_average_does(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = runs / "judged"
    images = torch.randint(0, 256, (5, 3, 12, 12), generator=torch.Generator().manual_seed(0))
    own = {k: cnnlab.load(judged, "cpu", k).predict(images.byte()) for k in ("raw", "ema")}
    plain, back = tmp_path / "plain.safetensors", tmp_path / "back.safetensors"
    assert main(["convert", f"source={judged}", f"output={plain}", "which_weights=ema"]) == 0
    assert main(["convert", f"source={plain}", f"output={back}"]) == 0
    found = cnnlab.load(back, "cpu").predict(images.byte())
    assert torch.equal(found.probabilities, own["ema"].probabilities)
    assert not torch.equal(found.probabilities, own["raw"].probabilities)
    other = tmp_path / "other.safetensors"
    assert main(["convert", f"source={plain}", f"output={other}", "which_weights=ema"]) == 2
    assert "which_weights has no effect here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "step", [4, pytest.param(1, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)]
)
def test_a_run_is_continued_with_its_average_bit_for_bit(
    step: int, runs: Path, tmp_path: Path
) -> None:
    """From a copy whose later checkpoints are gone, as after a crash."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "metrics.jsonl", "metrics.csv"):
        (run / name).write_bytes((runs / "judged" / name).read_bytes())
    (run / "run.json").write_text(json.dumps({"status": "interrupted"}))
    for number in range(1, step + 1):
        name = f"checkpoints/step_{number:08d}.safetensors"
        (run / name).write_bytes((runs / "judged" / name).read_bytes())
    assert main(["train", f"resume={run}"]) == 0
    found, wanted = last(run), last(runs / "judged")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_an_average_can_begin_in_a_resumed_run_and_what_is_judged_can_change(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*WORDS, "trainer.epochs=1", f"hydra.run.dir={run}"]) == 0
    longer = [f"resume={run}", "trainer.epochs=2", "ema.decay=0.8", "which_weights=ema"]
    assert main(["train", *longer]) == 2
    capsys.readouterr()
    assert main(["train", *longer, "allow_changes=[ema,which_weights]"]) == 0
    assert int(last(run)["averaging.num_updates"]) == 3
    best = checkpoint.read(run / "checkpoints" / "best.safetensors")
    assert best.document["step"] == 6, "the best of raw weights is no rival"
    assert any(name.startswith("ema.") for name in best.tensors)


def test_judging_an_average_that_is_not_kept_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "which_weights=ema"]) == 2
    said = capsys.readouterr().err
    assert "which_weights=ema needs a moving average" in said
    assert "ema.decay=0.999" in said


def test_runs_side_by_side_say_which_weights_are_judged(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    page = tmp_path / "page.html"
    pair = f"runs=[{runs / 'none'},{runs / 'judged'}]"
    assert main(["compare", pair, f"output={page}"]) == 0
    (row,) = [r for r in capsys.readouterr().out.splitlines() if r.startswith("which_weights")][:1]
    assert row.split()[-2:] == ["-", "ema"]

    for name in ("kept", "judged"):
        (tmp_path / "outputs" / "day" / name).mkdir(parents=True)
        (tmp_path / "outputs" / "day" / name / "run.json").write_bytes(
            (runs / name / "run.json").read_bytes()
        )
    monkeypatch.chdir(tmp_path)
    assert main(["list", "runs"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    marked = {Path(name).name for name, line in lines.items() if line.rstrip().endswith("% ema")}
    assert marked == {"judged"}


def test_the_average_of_a_network_on_two_devices_is_joined_as_its_weights_are() -> None:
    words = [*SET, *RUN, *QUICK, "model=alexnet_two_gpu", "model.devices=[cpu,cpu]"]
    small = ["model.width=0.0625", "dataset.image_size_pixels=64", "trainer.batch_size=4"]
    config = parse_train(composed("train", *words, *small, "ema.decay=0.8"))
    parts = assemble(config, torch.device("cpu"))
    state, batches = TrainState(parts.network, parts.optimizer), parts.batches()
    expected: dict[str, Tensor] = {}
    for number in range(3):
        parts.step(state, *next(batches))
        now = {name: tensor.clone() for name, tensor in parts.network.state_dict().items()}
        expected = {
            name: tensor if number == 0 else 0.8 * expected[name] + 0.2 * tensor
            for name, tensor in now.items()
        }
    assert parts.average is not None
    found = parts.average.network.state_dict()
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)
