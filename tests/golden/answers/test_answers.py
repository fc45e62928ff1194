"""Every command answers as it did when the answers were written: `python -m
tests.golden.answers.write` wrote them, before the rooms of November 2026."""

import importlib.util
import json
import shlex
from pathlib import Path

import pytest

import cnnlab
from tests.golden.answers import bad_lines, cases, reading
from tests.golden.answers.bench import Bench, Case, command
from tests.golden.answers.write import stored

WANTED = {key: answer for name in cases.GROUPS for key, answer in stored(name).items()}
REFUSED = stored("bad_lines")
EXACT = reading.facts() == stored("facts")
"""Whether floats, pixels and digests must be the same bits on this machine."""


SLOW = {
    *("train/pair", "evaluate/pair", "train/sweep", "visualize/alexnet"),
    *("convert/torchvision", "convert/out_again"),
}
"""Processes of their own, or large networks: five seconds and more."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return one scratch folder for all cases, in which each run is trained once."""
    return Bench(tmp_path_factory.mktemp("answers").resolve() / "bench", cases.CASES)


def test_every_case_has_a_stored_answer_and_every_answer_a_case() -> None:
    assert set(WANTED) == set(cases.CASES)
    assert set(REFUSED) == set(bad_lines.CASES)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=key, marks=[pytest.mark.slow] if key in SLOW else [])
        for key, case in cases.CASES.items()
    ],
)
def test_a_command_answers_as_before(case: Case, bench: Bench) -> None:
    found = json.loads(json.dumps(bench.answer(case)))

    assert list(reading.differences(WANTED[case.key], found, exact=EXACT)) == []


@pytest.mark.parametrize("line", bad_lines.CASES)
def test_a_bad_line_is_refused_as_before(line: str, bench: Bench) -> None:
    found = bench.refusal(line, bad_lines.CASES[line])

    assert found["code"] == REFUSED[line]["code"]
    assert 1 <= found["stderr_lines"] <= 3
    assert bool(found["files_left"]) == bool(REFUSED[line]["files_left"])


@pytest.mark.parametrize("verb", cases.VERBS)
def test_a_bad_line_was_kept_for_every_command(verb: str) -> None:
    assert any(shlex.split(line)[0] == verb for line in bad_lines.CASES)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the export extra is not installed",
)
def test_an_onnx_file_names_what_cnnlab_load_names(bench: Bench, tmp_path: Path) -> None:
    import numpy as np
    import onnxruntime

    bench.answer(cases.CASES["train/lenet5"])
    code, _, err = command(f"convert source=runs/lenet5 output={tmp_path}/lenet5.onnx", bench.here)
    assert code == 0, err

    session = onnxruntime.InferenceSession(str(tmp_path / "lenet5.onnx"))
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None].astype(np.float32)
    (scores,) = session.run(None, {"images": padded})
    names = cnnlab.load(bench.here / "runs" / "lenet5", "cpu").predict(images, as_is=True).names
    assert [str(best) for best in scores.argmax(1)] == names
