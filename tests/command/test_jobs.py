"""How a task ends decides the exit code, the message and where the traceback goes."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnlab.cli import main
from cnnlab.command.verbs import VERBS

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `cnnlab list` with one of our tasks, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_task(task: str, *words: str) -> int:
        verb = dataclasses.replace(
            VERBS["list"], task=f"tests.command.tasks:{task}", makes_runs=True
        )
        monkeypatch.setitem(VERBS, "list", verb)
        return main(["list", *words])

    return run_task


@pytest.mark.parametrize(
    ("task", "code", "message"),
    [
        ("lack_data", 3, "cnnlab: no images\n  data/\n  get some\n"),
        ("interrupted", 143, "cnnlab: stopped at step 7; go on with: cnnlab train resume=here\n"),
        (
            "bug_with_log",
            1,
            "cnnlab: bug: RuntimeError: inner workings\n  traceback in train.log\n",
        ),
        ("out_of_memory", 6, "cnnlab: out of memory\n"),
        (
            "device_busy",
            6,
            "cnnlab: the CUDA device cannot be used: CUDA-capable device(s) is/are busy or "
            "unavailable\n  another process may hold it: nvidia-smi lists them; runtime.device "
            "names another device\n",
        ),
        (
            "no_memory_for_a_context",
            6,
            "cnnlab: the CUDA device cannot be used: out of memory\n  another process may hold it: "
            "nvidia-smi lists them; runtime.device names another device\n",
        ),
        (
            "kernel_fault",
            1,
            "cnnlab: bug: AcceleratorError: CUDA error: an illegal memory access was encountered\n"
            "  traceback shown with CNNLAB_TRACEBACK=1\n",
        ),
        (
            "disk_full",
            6,
            "cnnlab: disk full or quota\n  a.txt\n"
            "  free space, or use another disk: hydra.run.dir=X\n",
        ),
        (
            "read_only",
            6,
            "cnnlab: not permitted (Read-only file system)\n  a.txt\n"
            "  write to a folder that you own: hydra.run.dir=X\n",
        ),
        (
            "no_thread",
            6,
            "cnnlab: the system refuses another thread\n  decode with fewer: "
            "dataset.num_decode_threads=1; or raise the limit: ulimit -u\n",
        ),
    ],
)
def test_the_end_of_a_task(
    task: str, code: int, message: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(task) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("task", ["bug_with_log", "lack_data"])
def test_the_traceback_goes_to_the_log(task: str, run: Run) -> None:
    run(task)

    log = Path("train.log").read_text()
    assert "Traceback" in log
    assert f"in {task}" in log


def test_a_variable_shows_the_traceback(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("bug_without_log")
    assert "CNNLAB_TRACEBACK=1" in capsys.readouterr().err
    monkeypatch.setenv("CNNLAB_TRACEBACK", "1")
    run("bug_without_log")
    assert "in bug_without_log" in capsys.readouterr().err


def test_a_chosen_run_folder_reaches_the_task_and_is_not_made(run: Run, tmp_path: Path) -> None:
    assert run("remember", "models", "hydra.run.dir=my runs/a=b") == 0

    launch = json.loads(Path("arrived_0.json").read_text())["launch"]
    assert launch["folder"] == "my runs/a=b"
    assert launch["command"] == "cnnlab list models 'hydra.run.dir=my runs/a=b'"
    assert [path.name for path in tmp_path.iterdir()] == ["arrived_0.json"]


def test_sweep_jobs_get_the_sweep_folder_and_their_number(run: Run) -> None:
    assert run("remember", "-m", "what=models,runs", "hydra.sweep.dir=swept") == 0

    for job in (0, 1):
        launch = json.loads(Path(f"arrived_{job}.json").read_text())["launch"]
        assert (launch["sweep_folder"], launch["job"]) == ("swept", job)
        assert launch["folder"] is None


def test_a_sweep_goes_on_after_a_failure_and_returns_its_code(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("fail_in_job_1", "-m", "what=models,runs,datasets", "hydra.sweep.dir=swept")

    lines = capsys.readouterr().err.splitlines()
    assert code == 5
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["0", "what=models"],
        ["2", "what=datasets"],
        ["1", "what=runs"],
    ]
    assert lines[2].split()[2:] == ["25.00", "%", "12.50", "%", "done"]
    assert lines[4].endswith("failed (5)")
    assert len(Path("swept/results.csv").read_text().splitlines()) == 4


def test_an_interrupt_ends_the_whole_sweep(run: Run) -> None:
    assert run("interrupted", "-m", "what=models,runs", "hydra.sweep.dir=swept") == 143

    assert len(Path("swept/jobs.jsonl").read_text().splitlines()) == 1


def test_a_hint_about_memory_names_a_setting_that_the_command_has() -> None:
    from cnnlab.command import composing, line
    from cnnlab.command.failures import memory_hint
    from cnnlab.config.keys import walk

    for name, verb in VERBS.items():
        values, _ = composing.preview(line.read(name, []))
        needed: dict[str, Any] = {"checkpoint": ["x"], "images": ["y"], "runs": ["a", "b"]}
        values |= {key: given for key, given in needed.items() if values.get(key) == []}
        if name == "copy":
            values = {"choice": "experiment=quickstart", "output": "mine.yaml"}
        keys = {key.name for key in walk(verb.config_class)}
        hint = memory_hint(verb.parse(values)).partition("\n  ")[2]
        key = hint.partition("=")[0]
        assert key in keys | {""}, name


WORDS = {
    "evaluate": ["checkpoint=x"],
    "predict": ["checkpoint=x", "images=y"],
    "compare": ["runs=[a,b]"],
    "copy": ["experiment=quickstart", "mine.yaml"],
    "reproduce": ["claims=parameters_in_fc"],
}


@pytest.mark.parametrize("task", ["unwritable", "disk_full", "not_permitted"])
@pytest.mark.parametrize("name", VERBS)
def test_the_place_that_a_hint_proposes_is_a_setting_that_the_command_accepts(
    name: str,
    task: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    verb = dataclasses.replace(VERBS[name], task=f"tests.command.tasks:{task}")
    monkeypatch.setitem(VERBS, name, verb)

    assert main([name, *WORDS.get(name, [])]) == 6

    said = capsys.readouterr().err
    proposed = [word.strip(",") for word in said.split() if "=" in word]
    assert proposed == [word for word in verb.places().split(", ") if word]
    for word in proposed:
        assert main([name, *WORDS.get(name, []), word]) == 6  # and not 2: the key is taken


def test_a_job_of_a_sweep_is_sent_to_another_folder_for_the_sweep(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("unwritable", "-m", "what=models", "hydra.sweep.dir=swept") == 6
    said = capsys.readouterr().err
    assert "another disk: hydra.sweep.dir=X\n" in said
    assert "hydra.run.dir" not in said


def test_a_resumed_run_is_not_sent_to_another_folder() -> None:
    assert VERBS["train"].places() == "hydra.run.dir=X"
    assert VERBS["train"].places(resumes=True) == ""
