"""Commands run by two processes, and their results, against one process."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cnnlab import checkpoint, cli
from cnnlab.checkpoint import Checkpoint
from cnnlab.distributed import Peers, Share
from cnnlab.errors import UsageError
from cnnlab.inference.evaluation import check_evaluation
from tests.distributed.launching import PLUGIN, SETTINGS, WORKER, finished, torchrun


def last_of(folder: Path) -> Checkpoint:
    return checkpoint.read(folder / "checkpoints" / "last.safetensors")


def test_a_signal_to_one_process_stops_all_at_the_same_step(
    started: Path, found: dict[str, Any]
) -> None:
    code, _, errors = found["commands"]["stopped"]

    assert code == 143
    assert errors.count("stopped after step 4") == 1
    resumed = json.loads((started / "run" / "run.json").read_text())["resumed"]
    assert [entry["step"] for entry in resumed] == [4]


def test_a_stopped_run_reaches_the_weights_of_one_that_was_not(
    started: Path, found: dict[str, Any]
) -> None:
    code, output, _ = found["commands"]["resumed"]

    assert code == 0
    assert "not bit-identically" not in output
    check_same_weights(last_of(started / "run"), last_of(started / "alone"))


def test_a_run_started_by_one_process_continues_with_two(
    started: Path, found: dict[str, Any]
) -> None:
    code, output, _ = found["commands"]["grown"]

    assert found["commands"]["stopped_alone"][0] == 143
    assert code == 0
    assert "num_processes 1 -> 2: continuing, but not bit-identically" in output
    check_same_weights(last_of(started / "grown"), last_of(started / "alone"))


@pytest.mark.slow
def test_a_hybrid_stops_resumes_and_opens_elsewhere(tmp_path: Path) -> None:
    """With AdamW, an average of the weights, a group and the clip of filters, as one process.

    Dropout of two data-parallel processes has masks of its own, so a run that was one for a while
    ends elsewhere; whole states and codes are compared there, not weights.
    """
    process = torchrun(WORKER, "found.json", "hybrid commands", folder=tmp_path)
    _, errors = finished(process)
    assert process.returncode == 0, errors
    commands = json.loads((tmp_path / "0_found.json").read_text())["commands"]
    codes = {name: code for name, (code, _, _) in commands.items()}
    assert {name for name, code in codes.items() if code == 143} == {
        *("stopped", "stopped_alone", "shrunk stopped", "to_data stopped", "to_hybrid stopped")
    }
    assert {code for code in codes.values() if code != 143} == {0}, commands

    wanted = last_of(tmp_path / "alone")
    for name in ("run", "grown", "shrunk"):
        found = last_of(tmp_path / name)
        check_same_weights(found, wanted)
        check_same_tensors(found, wanted, ("averaging.", "ema.", "optimizer."))
    for name in ("to_data", "to_hybrid"):
        found = last_of(tmp_path / name)
        assert found.document["step"] == 6
        assert {k: v.shape for k, v in found.tensors.items()} == {
            k: v.shape for k, v in wanted.tensors.items()
        }
    one, two = (json.loads(commands[name][1]) for name in ("evaluated_alone", "evaluated"))
    assert one["top1_error"] == two["top1_error"]


@pytest.mark.slow
def test_a_simulated_run_resumes_bit_for_bit_and_says_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["distributed.scheme=hybrid", "distributed.simulate=4", "distributed.fc_batch=5"]
    words = [*SETTINGS, *asked, "model.dropout=0.5"]
    assert cli.main([*words, "hydra.run.dir=whole"]) == 0
    said = capsys.readouterr().out
    monkeypatch.setenv("FAULT", "term 0 4")
    assert cli.main([*words, "hydra.run.dir=parted"]) == 143
    monkeypatch.setenv("FAULT", "none 0 0")
    assert cli.main(["train", "resume=parted", *PLUGIN]) == 0

    assert "simulated   4 processes, which share every batch; the units of hidden" in said
    assert "are updated after each 5 images" in said
    whole, parted = (last_of(tmp_path / name).tensors for name in ("whole", "parted"))
    assert whole.keys() == parted.keys()
    assert all(torch.equal(parted[name], tensor) for name, tensor in whole.items())


def check_same_tensors(found: Checkpoint, wanted: Checkpoint, prefixes: tuple[str, ...]) -> None:
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        if name.startswith(prefixes):
            torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-3, atol=1e-5)


def check_same_weights(found: Checkpoint, wanted: Checkpoint) -> None:
    assert found.document["step"] == wanted.document["step"] == 6
    for name, tensor in wanted.tensors.items():
        if name.startswith("model."):
            # float32, six steps: the only difference is the order of sums
            torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-4, atol=1e-5)


def test_two_processes_count_61_images_as_one_does(started: Path, found: dict[str, Any]) -> None:
    code, output, _ = found["commands"]["evaluated"]
    shared = json.loads(output)
    alone = json.loads(found["commands"]["evaluated_alone"][1])

    assert code == 0
    assert shared["num_images"] == 61
    for name in ("num_images", "top1_error", "top5_error", "subsets"):
        assert shared[name] == alone[name]
    assert shared["cross_entropy"] == pytest.approx(alone["cross_entropy"], rel=1e-6)
    for one, other in zip(shared["members"], alone["members"], strict=True):
        assert (one["top1_error"], one["disagreement"]) == (
            other["top1_error"],
            other["disagreement"],
        )


def test_only_the_first_process_prints(said_by_the_other: dict[str, Any]) -> None:
    assert said_by_the_other == {
        "stopped": [143, "", ""],
        "resumed": [0, "", ""],
        "evaluated": [0, "", ""],
        "grown": [0, "", ""],
    }


def test_a_precision_without_effect_is_warned_of_once(found: dict[str, Any]) -> None:
    for name in ("evaluated", "evaluated_alone"):
        errors = found["commands"][name][2].splitlines()
        assert [line for line in errors if "tf32" in line] == [
            "cnnlab: precision=tf32 has no effect on cpu: it computes in fp32"
        ]


def test_probabilities_are_saved_by_one_process_alone() -> None:
    asked: Any = SimpleNamespace(save_probabilities=True)

    check_evaluation(Peers(Share(0, 1)), asked)
    with pytest.raises(UsageError, match="needs a single process"):
        check_evaluation(Peers(Share(1, 2)), asked)


@pytest.mark.parametrize("words", [["predict"], ["prepare"], ["visualize"], ["train", "-m"]])
def test_what_cannot_be_shared_is_refused_under_torchrun(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert cli.main([*words, "seed=1"]) == 2
    assert "in one process, but torchrun started 2" in capsys.readouterr().err
