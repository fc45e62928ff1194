"""`cnnlab benchmark` measures every part, says what binds, and leaves no file."""

import json
from pathlib import Path

import pytest
import torch

from cnnlab.app.benchmark import Bench, Part, binding
from cnnlab.cli import main

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


def test_the_table_names_what_binds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "model=linear", "evaluation=five_crop"]) == 0
    printed = capsys.readouterr().out
    assert "whole loop" in printed
    assert "binds the training step" in printed


def test_work_per_image_is_the_textbook_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """LeNet-5: 416,520 multiply-adds forward, 117,600 of them in C1, which needs no way back."""
    seen: list[Bench] = []
    monkeypatch.setattr("cnnlab.app.benchmark.show", lambda *arguments: seen.append(arguments[2]))
    assert main([*QUICK, "augment=none"]) == 0
    assert seen[0]._multiply_adds() == (416_520, 117_600)
    assert seen[0]._training_flop() == 2 * (3 * 416_520 - 117_600)


def test_the_slowest_of_reading_augmenting_and_stepping_binds() -> None:
    times = {"loader": 3.0, "augmentation": 5.0, "step": 4.0, "whole loop": 12.0}
    parts = [Part(name, 1.0, time, "none", 2.0) for name, time in times.items()]
    assert binding(parts) == "augmentation"
    assert parts[0].share_of_limit == 0.5


@pytest.mark.gpu
def test_a_gpu_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "seconds_per_part=0.1", "runtime.device=cuda", "format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["device"].startswith("cuda")
    assert all(part["share_of_limit"] < 1.2 for part in document["parts"])
    assert torch.cuda.max_memory_allocated() >= document["peak_memory_bytes"]
