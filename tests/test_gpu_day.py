"""`scripts/gpu_check.sh`: sections under deadlines, a record after each, a rehearsal on a CPU."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from cnnlab.config import parse_train
from scripts.gpu_day import __main__ as gpu_day
from scripts.gpu_day import correctness, lean, machine, rates, record
from scripts.gpu_day.deadlines import (
    DONE,
    FAILED,
    LEFT_OUT,
    OUT_OF_TIME,
    Day,
    missing,
    run_all,
    share,
)
from scripts.gpu_day.sections import SECTIONS, Section
from scripts.gpu_day.settings import train_settings
from scripts.gpu_day.task import Task
from tests.app.test_benchmark import FAKES
from tests.pretended.device import pretended
from tests.pretended.record import MIX, RACE
from tests.test_config import composed

ROOT = Path(__file__).parents[1]


def section(work: str, seconds: float = 20, **more: Any) -> Section:
    return Section(work, f"tests.gpu_day_parts:{work}", seconds, **{"least": 0, **more})


def day(folder: Path, seconds: float = 100) -> Day:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Day("cpu", folder, environment, time.monotonic() + seconds)


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_section_that_hangs_or_crashes_loses_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.gpu_day.deadlines.PATIENCE_SECONDS", 0.05)
    document: dict[str, Any] = {"sections": [], "not_installed": []}
    stored: list[list[str]] = []

    def finished(outcome: dict[str, Any]) -> None:
        document["sections"].append(outcome)
        record.write(tmp_path / "gpu.json", document)
        found = json.loads((tmp_path / "gpu.json").read_text())["sections"]
        stored.append([one["state"] for one in found])

    sections = [section("hang", seconds=0.2), section("die"), section("fail"), section("succeed")]
    outcomes = run_all(sections, day(tmp_path, seconds=60), finished)

    states = [OUT_OF_TIME, FAILED, FAILED, DONE]
    assert stored == [states[:number] for number in (1, 2, 3, 4)]
    hung, dead, wrong, well = outcomes
    assert hung["why"] == "killed at its deadline"
    assert dead["why"] == "ended by SIGKILL"
    (row,) = dead["rows"]  # the half-written one is dropped
    assert not is_running(row["child"])
    assert wrong["rows"][0]["holds"] is False
    assert [row.get("figure") for row in well["rows"]] == [1, None]

    lines = record.table(outcomes)
    assert "    DOES NOT HOLD: two is three (left=2, right=3)" in lines
    assert lines[-2:] == ["    one row", "    no time for 1: a long case"]
    assert list(tmp_path.glob("*.rows")) + list(tmp_path.glob("*.tmp*")) == []


def test_what_one_section_leaves_is_for_those_after_it() -> None:
    coming = [section("a", 30), section("b", 10), section("c", 20, least=15)]
    assert share(coming, 120) == 60
    assert share(coming[1:], 120) == 40
    assert share(coming[2:], 120) == 120
    assert share([coming[2], coming[0]], 20) == 15  # not less than what it needs
    assert share([coming[2]], 10) == 10


def test_what_cannot_run_is_left_out_with_the_reason(tmp_path: Path) -> None:
    sections = [
        section("a", needs=("torch", "no_such_package", "no.such.package")),
        section("b", num_gpus=2),
        section("c", least=1000),
    ]
    outcomes = run_all(sections, day(tmp_path), lambda outcome: None)
    assert [outcome["state"] for outcome in outcomes] == [LEFT_OUT] * 3
    whys = [outcome["why"] for outcome in outcomes]
    assert whys[0] == "not installed: no_such_package, no.such.package"
    assert whys[1] == "needs 2 CUDA devices"
    assert whys[2].endswith("s are left, it needs 1000")
    assert list(tmp_path.iterdir()) == []


def test_without_a_device_there_is_one_line_and_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document: dict[str, Any] = {"sections": [], "not_installed": []}
    sections = [section("find_no_device", gate=True), section("succeed")]
    finished = document["sections"].append
    assert gpu_day.run(sections, day(tmp_path), document, finished) == 6
    assert capsys.readouterr().err == "cnnlab: no device; nothing was checked\n"
    assert len(document["sections"]) == 1


def test_ctrl_c_keeps_the_record_and_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document: dict[str, Any] = {"sections": [], "not_installed": ["hydra"]}

    def finished(outcome: dict[str, Any]) -> None:
        document["sections"].append(outcome)
        raise KeyboardInterrupt

    sections = [section("succeed"), section("fail")]
    assert gpu_day.run(sections, day(tmp_path), document, finished) == 130
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith("succeed       done")
    assert printed[-2:] == ["not installed: hydra", f"record: {tmp_path}/gpu.json"]


def test_wheels_are_imported_for_the_day(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("other/__init__.py", "")
    assert gpu_day.unpack(tmp_path, tmp_path / "site") == ["other-1.0-py3-none-any.whl"]
    assert missing(["other"], str(tmp_path / "site")) == []
    assert missing(["other"], "") == ["other"]
    assert gpu_day.unpack(None, tmp_path / "site") == []


def test_with_a_python_that_lacks_something_there_is_one_line_and_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document: dict[str, Any] = {"sections": [], "not_installed": []}
    lacking = [Section("machine", "tests.no_such_module:find", 20, least=0, gate=True)]
    finished = document["sections"].append
    assert gpu_day.run(lacking, day(tmp_path), document, finished) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cnnlab: {sys.executable} cannot import tests.no_such_module; PYTHON=")


def test_tests_that_may_end_a_device_or_compile_come_last() -> None:
    names = ["test_a_compiled_run", "test_on_a_gpu_triton_agrees", "test_auto_takes_the_first_gpu"]
    names += ["test_a_captured_run", "test_no_step_synchronizes", "test_a_lean_training"]
    ordered = sorted(names, key=correctness.place_of)
    places = [names.index(name) for name in ordered]
    assert places == [2, 4, 1, 3, 5, 0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_the_first_section_asks_for_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task("cuda:0", tmp_path, time.monotonic() + 10, tmp_path / "rows")
    assert machine.find(task) == 6
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("cnnlab: runtime.device=cuda:0, but torch ")
    assert line.endswith("; nothing was checked")


@pytest.mark.parametrize("case", SECTIONS, ids=lambda case: case.name)
def test_each_section_has_its_work(case: Section) -> None:
    module, _, function = case.work.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_correctness_comes_first() -> None:
    names = [section.name for section in SECTIONS]
    assert names[:4] == ["machine", "losses", "commands", "rates"]
    assert sum(section.seconds for section in SECTIONS) == pytest.approx(600, rel=0.1)


def test_settings_without_hydra_are_those_of_the_command() -> None:
    found = train_settings({"model": "alexnet", "model.width": 0.125, "runtime.precision": "bf16"})
    words = ["dataset=synthetic", "augment=none", "schedule=constant", "model=alexnet"]
    words += ["dataset.num_validation=0", "dataset.num_test=256", "dataset.image_size_pixels=32"]
    words += ["optimizer.learning_rate=0.001", "trainer.epochs=1000000", "model.width=0.125"]
    words += ["trainer.validate_every_epochs=1000000", "saving.every_epochs=null"]
    words += ["logging.progress=false", "runtime.precision=bf16", "trainer.clip_gradient_norm=null"]
    assert found == parse_train(composed("train", *words))


BARE = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hydra", "omegaconf", "antlr4", "mlxtend", "simplejpeg"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
"""


def rehearsed(folder: Path, *words: str, path: str = "") -> dict[str, Any]:
    """Run the script on the CPU with this Python, and return its record."""
    command = [str(ROOT / "scripts" / "gpu_check.sh"), "--offline", "--device", "cpu"]
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": path}
    done = subprocess.run(
        [*command, "--out", str(folder / "out"), *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    found = json.loads((folder / "out" / "gpu.json").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["rehearsal"]
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_a_machine_without_hydra_and_data_rehearses_the_rest(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BARE)
    some = [section.name for section in SECTIONS if section.name != "compiled"]
    found = rehearsed(tmp_path, "--seconds", "1200", "--only", *some, path=str(tmp_path))
    states = {one["name"]: (one["state"], one["why"]) for one in found["sections"]}

    assert found["not_installed"] == ["hydra", "omegaconf", "simplejpeg", "mlxtend"]
    assert states.pop("commands") == (LEFT_OUT, "not installed: hydra, omegaconf")
    assert states.pop("tests") == (LEFT_OUT, "not installed: hydra, omegaconf, mlxtend")
    assert states.pop("jpegs") == (LEFT_OUT, "not installed: simplejpeg")
    assert states.pop("two devices") == (LEFT_OUT, "needs 2 CUDA devices")
    assert set(states.values()) == {(DONE, "")}


@pytest.mark.slow
# a timed training is never ended: its files are closed with the process, here by the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_measures_a_device_runs_on_a_pretended_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32: the pretence has no autocast."""
    monkeypatch.setattr(correctness, "TOLERANCE", {"fp32": 1e-4})
    monkeypatch.setattr(Task, "is_rehearsal", True)
    rows = tmp_path / "rows"
    task = Task("cuda:0", tmp_path, time.monotonic() + 3600, rows)

    with pretended() as record, contextlib.ExitStack() as patched:
        for name, value in FAKES.items():
            patched.enter_context(mock.patch.object(torch.cuda, name, value))
        correctness.losses(task)
        rates.training(task)
        lean.graphs(task)
        rates.time_step(task, "captured", rates.case_of(task, "lenet5", 8, "fp32", **lean.CAPTURED))
        assert not record.of(MIX, RACE)

    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert task.num_failures == 0, found
    assert len([row for row in found if row.get("holds")]) == len(correctness.NETWORKS) + 1 + 5
    assert found[-1]["capture"] is True
    assert found[-1]["compile"] is False
    assert len([row for row in found if "seconds_over_bare" in row]) == len(rates.MODELS)


@pytest.mark.slow
def test_commands_and_tests_are_rehearsed(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, "--seconds", "900", "--only", "commands", "tests")
    states = {one["name"]: (one["state"], one["why"]) for one in found["sections"]}
    assert states == dict.fromkeys(("machine", "commands", "tests"), (DONE, ""))
    held = [row["holds"] for row in found["sections"][1]["rows"] if "holds" in row]
    assert len(held) == 10
    assert all(held)
