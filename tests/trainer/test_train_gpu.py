"""The same training on a CUDA device: marked gpu, skipped with a reason where there is none."""

import csv
import json
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.config.models import MODELS
from tests.pretended.runs import CASES, Training

pytestmark = pytest.mark.gpu

FEW = ["trainer.epochs=2", "trainer.limit_train_batches=6", "logging.report=false"]


def train(folder: Path, *words: str) -> list[float]:
    """Train on the first GPU; return the loss of each epoch."""
    assert main(["train", *FEW, "runtime.device=cuda", f"hydra.run.dir={folder}", *words]) == 0
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_every_precision_starts_like_the_cpu(tmp_path: Path, precision: str) -> None:
    words = ["trainer.epochs=1", "optimizer.learning_rate=0.01"]
    on_gpu = train(tmp_path / "gpu", *words, f"runtime.precision={precision}")
    assert main(["train", *FEW, *words, "runtime.device=cpu", f"hydra.run.dir={tmp_path}/cpu"]) == 0
    with open(tmp_path / "cpu" / "metrics.csv", newline="") as file:
        on_cpu = [float(row["train/loss"]) for row in csv.DictReader(file)]
    tolerance = 0.03 if precision == "bf16" else 0.003  # rounding, grown over six updates
    assert on_gpu == pytest.approx(on_cpu, rel=tolerance)


@pytest.mark.parametrize("model", ["lenet5", "alexnet"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_compiled_run_starts_like_the_plain_one(
    tmp_path: Path, model: str, precision: str
) -> None:
    words = [f"model={model}", "dataset.image_size_pixels=64", "model.dropout=0.5"]
    words += ["trainer.epochs=1", "optimizer.learning_rate=0.001", f"runtime.precision={precision}"]
    plain = train(tmp_path / "plain", *words)
    compiled = train(tmp_path / "compiled", *words, "runtime.compile=true")
    assert compiled == pytest.approx(plain, rel=0.03 if precision == "bf16" else 0.003)


@pytest.mark.parametrize("rule", ["sgd", "sgd_2012", "adamw"])
@pytest.mark.parametrize("model", ["lenet5", "alexnet"])
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_a_captured_run_is_the_eager_one_bit_for_bit(
    tmp_path: Path, model: str, rule: str, schedule: str
) -> None:
    words = [f"model={model}", "dataset.image_size_pixels=64", "model.dropout=0.5"]
    words += [f"optimizer={rule}", f"schedule={schedule}", "optimizer.learning_rate=0.001"]
    check_captured(tmp_path, *words)


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"lenet5", "alexnet", "alexnet_two_gpu"}))
def test_a_captured_run_of_every_network_is_the_eager_one_bit_for_bit(
    tmp_path: Path, model: str
) -> None:
    is_large = model.startswith(("alexnet", "zfnet")) and model != "alexnet_cifar"
    words = [f"model={model}", f"dataset.image_size_pixels={64 if is_large else 32}"]
    check_captured(tmp_path, *words, "trainer.batch_size=32")


def test_a_captured_run_with_batch_norm_is_the_eager_one_bit_for_bit(tmp_path: Path) -> None:
    words = ["model=alexnet_cifar", "model.normalization=batch", "ema.decay=0.9"]
    check_captured(tmp_path, *words, "trainer.batch_size=32")


def check_captured(folder: Path, *words: str) -> None:
    """Check that two epochs leave the same weights with and without capture."""
    for name in ("false", "true"):
        train(folder / name, *words, "runtime.deterministic=true", f"runtime.capture={name}")
    plain, captured = (
        checkpoint.read(folder / n / "checkpoints/last.safetensors") for n in ("false", "true")
    )
    for name, tensor in plain.tensors.items():
        assert torch.equal(tensor, captured.tensors[name]), name


@pytest.mark.parametrize("switch", ["capture=true", "capture=false"])
def test_a_lean_training_of_2012_starts_like_the_plain_one(tmp_path: Path, switch: str) -> None:
    words = ["model=alexnet_two_tower", "dataset.image_size_pixels=64", "optimizer=sgd_2012"]
    words += ["optimizer.learning_rate=0.001", "model.dropout=0.0"]
    lean = ["kernels=triton", "fused_update=true", "fast_evaluation=true", switch]
    plain = train(tmp_path / "plain", *words)
    found = train(tmp_path / "lean", *words, *(f"runtime.{word}" for word in lean))
    assert found == pytest.approx(plain, rel=0.003)


@pytest.mark.parametrize("model", ["lenet5", "alexnet"])
def test_deterministic_runs_agree_bit_for_bit(tmp_path: Path, model: str) -> None:
    words = [f"model={model}", "dataset.image_size_pixels=64", "runtime.deterministic=true"]
    few = ["trainer.batch_size=16", "model.dropout=0.5", "optimizer.learning_rate=0.01"]
    for name in ("one", "two"):
        train(tmp_path / name, *words, *few)
    weights = [
        checkpoint.read(tmp_path / n / "checkpoints/last.safetensors") for n in ("one", "two")
    ]
    for name, tensor in weights[0].tensors.items():
        assert torch.equal(tensor, weights[1].tensors[name]), name


def test_what_was_trained_on_a_gpu_evaluates_the_same_on_the_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", "trainer.epochs=4", "trainer.limit_train_batches=30")
    capsys.readouterr()
    errors = []
    for device in ("cuda", "cpu"):
        words = [f"checkpoint={tmp_path}/run", f"runtime.device={device}", "format=json"]
        assert main(["evaluate", *words]) == 0
        errors.append(json.loads(capsys.readouterr().out)["top1_error"])
    assert errors[0] == pytest.approx(errors[1], abs=0.003)


@pytest.mark.parametrize("residency", ["device", "host"])
def test_residency_does_not_change_what_is_learned(tmp_path: Path, residency: str) -> None:
    words = [f"dataset.residency={residency}", "runtime.deterministic=true"]
    assert train(tmp_path / "a", *words) == train(tmp_path / "b", "runtime.deterministic=true")


@pytest.mark.parametrize("case", ["lenet5", "alexnet of 2014"])
def test_no_step_synchronizes(case: str) -> None:
    """torch raises where it would; the pretended device claims the same (tests/pretended)."""
    run = Training.start((*CASES[case], "trainer.limit_train_batches=2"), "cuda:0")
    run.train(3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.train(6)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_pictures_are_those_of_the_cpu_bit_for_bit() -> None:
    here, there = (Training.start(CASES["alexnet of 2014"], device) for device in ("cpu", "cuda:0"))
    for _ in range(9):
        for mine, theirs in zip(next(here.batches), next(there.batches), strict=True):
            assert torch.equal(theirs.cpu(), mine)
