"""`cnnlab benchmark` measures every part, names the bottleneck, and writes no file."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from cnnlab.cli import main
from cnnlab.inference.network import open_network
from cnnlab.models import kernels
from cnnlab.trainer import throughput
from cnnlab.trainer.throughput import Throughput, bottleneck, multiply_adds, training_flop
from tests.app.test_evaluate import write_checkpoint
from tests.pretended.device import pretended
from tests.pretended.record import MIX, RACE

QUICK = ["benchmark", "seconds_per_part=0.01", "runtime.device=cpu", "runtime.num_threads=1"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_document_has_every_part_and_its_limit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*QUICK, "format=json", "trainer.batch_size=16"]) == 0
    document = json.loads(capsys.readouterr().out)
    names = [part["name"] for part in document["parts"]]
    assert names == ["loader", "augmentation", "step", "whole loop", "evaluation"]
    for part in document["parts"]:
        assert part["images_per_second"] > 0
        share = part["images_per_second"] / part["limit_images_per_second"]
        assert part["share_of_limit"] == pytest.approx(share)
    assert document["binds"] in names[:3]
    assert document["peak_memory_bytes"] > 2**20
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_the_bottleneck(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "model=linear", "evaluation=five_crop"]) == 0
    printed = capsys.readouterr().out
    assert "\ncapture" not in printed  # said where there is a GPU
    assert "whole loop" in printed
    assert "\nbottleneck  " in printed


def test_what_auto_chose_is_in_the_table_and_the_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = kernels.Chosen("torch's: because", is_missed=True)
    monkeypatch.setattr(kernels, "use", mock.Mock(return_value=chosen))
    short = [*QUICK, "model=linear"]
    assert main(short) == main([*short, "format=json"]) == 0
    printed = capsys.readouterr().out
    assert "\nkernels     torch's: because\n" in printed
    assert '"kernels": "torch\'s: because"' in printed


def test_work_per_image_is_the_textbook_count(tmp_path: Path) -> None:
    """LeNet-5: 416,520 multiply-adds, 117,600 of them in C1, which has no gradient to its input."""
    path = write_checkpoint(tmp_path / "lenet5.safetensors", network="lenet5")
    network = open_network(path, torch.device("cpu")).network
    assert multiply_adds(network, "lenet5") == (416_520, 117_600)
    assert training_flop(network, "lenet5") == 2 * (3 * 416_520 - 117_600)


def test_the_slowest_of_loader_augmentation_and_step_is_the_bottleneck() -> None:
    times = {"loader": 3.0, "augmentation": 5.0, "step": 4.0, "whole loop": 12.0}
    parts = [Throughput(name, 1.0, time, "none", 2.0) for name, time in times.items()]
    assert bottleneck(parts) == "augmentation"
    assert parts[0].share_of_limit == 0.5


class FakeEvent:
    """A mark in a stream of work whose parts take 2 ms each, but for a few that take longer."""

    parts = itertools.cycle([2, 2, 2, 2, 2, 500, 2, 2, 2, 70, 2, 2])
    now = 0

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        FakeEvent.now += next(self.parts)
        self.at = FakeEvent.now

    def elapsed_time(self, other: "FakeEvent") -> float:
        return other.at - self.at


FAKES: dict[str, Any] = {
    "Event": FakeEvent,
    "empty_cache": lambda: None,
    "reset_peak_memory_stats": lambda device=None: None,
    "max_memory_allocated": lambda device: 12345,
}
"""What measures a CUDA device, for the pretended one."""


def test_the_limits_of_a_gpu_are_medians_of_its_own_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command on a pretended device; the host's clock says nothing of a GPU's work."""
    monkeypatch.setitem(throughput.COPY_BYTES, "cuda", 2**12)
    monkeypatch.setitem(throughput.MATRIX_SIDE, "cuda", 32)
    monkeypatch.setattr(throughput, "_generator", lambda device: None)
    few = ["dataset=synthetic", "dataset.num_train=20", "dataset.num_validation=4"]
    few += ["dataset.num_test=10", "trainer.batch_size=8", "model=linear"]

    with pretended() as record, contextlib.ExitStack() as patched:
        for name, value in FAKES.items():
            patched.enter_context(mock.patch.object(torch.cuda, name, value))
        assert main([*QUICK, "runtime.device=cuda", "format=json", *few]) == 0
        assert not record.of(MIX, RACE)

    document = json.loads(capsys.readouterr().out)
    assert document["device"].startswith("cuda:0")
    assert document["copy_bytes_per_second"] == pytest.approx(2 * 2**12 / 2e-3)
    assert document["flop_per_second"] == pytest.approx(2 * 32**3 / 2e-3)
    assert document["peak_memory_bytes"] == 12345


@pytest.mark.gpu
def test_a_gpu_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "seconds_per_part=0.1", "runtime.device=cuda", "format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["device"].startswith("cuda")
    assert all(part["share_of_limit"] < 1.2 for part in document["parts"])
    assert torch.cuda.max_memory_allocated() >= document["peak_memory_bytes"]
