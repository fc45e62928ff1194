"""`cnnlab benchmark` measures every part, names the bottleneck, and writes no file."""

import json
from pathlib import Path

import pytest
import torch

from cnnlab.cli import main
from cnnlab.inference.network import open_network
from cnnlab.trainer.throughput import Throughput, bottleneck, multiply_adds, training_flop
from tests.app.test_evaluate import write_checkpoint

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
    assert "whole loop" in printed
    assert "\nbottleneck  " in printed


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


@pytest.mark.gpu
def test_a_gpu_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "seconds_per_part=0.1", "runtime.device=cuda", "format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["device"].startswith("cuda")
    assert all(part["share_of_limit"] < 1.2 for part in document["parts"])
    assert torch.cuda.max_memory_allocated() >= document["peak_memory_bytes"]
