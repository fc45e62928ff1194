"""The command sets how threads wait; a program that imports cnnlab keeps its environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.cpu import waiting
from cnnlab.cpu.waiting import OF_THE_USER, SHARED, prepare

TELL = """
import sys, os
def tell(event, arguments):
    if event == "import" and arguments[0] == "torch":
        print({name: os.environ.get(name) for name in %r}, flush=True)
        os._exit(0)
sys.addaudithook(tell)
""" % (list(SHARED),)  # noqa: UP031 - braces are Python's


@pytest.fixture(autouse=True)
def _torch_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_a_command_shares_its_processors() -> None:
    environment: dict[str, str] = {"HOME": "/home"}
    assert prepare(["train", "model=alexnet"], environment) == SHARED
    assert environment == {"HOME": "/home", **SHARED}


@pytest.mark.parametrize("name", OF_THE_USER)
def test_whoever_has_set_a_variable_is_left_alone(name: str) -> None:
    environment = {name: "1"}
    assert prepare(["train"], environment) == {}
    assert environment == {name: "1"}


@pytest.mark.parametrize(
    ("word", "is_named"),
    [
        ("runtime.num_threads=2", True),
        ("++runtime.num_threads=2", True),
        ("runtime.num_threads=1,2", True),
        ("runtime.num_threads=null", False),
        ("num_threads=2", False),
        ("dataset.num_decode_threads=2", False),
    ],
)
def test_whoever_names_the_threads_gets_them_as_torch_has_them(word: str, is_named: bool) -> None:
    assert prepare(["train", word], {}) == ({} if is_named else SHARED)


def test_after_torch_is_loaded_it_would_be_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", waiting)
    assert prepare(["train"], {}) == {}


IMPORTS = (
    "import cnnlab.cli, cnnlab.command.jobs\ncnnlab.cli.main(['train', 'nonsense=1'])\nimport torch"
)
COMMANDS = {
    "python -m cnnlab": (["-m", "cnnlab", "train"], SHARED),
    "another program": (["-c", IMPORTS], {}),
    "a setting of the user's": (["-m", "cnnlab", "train"], {"GOMP_SPINCOUNT": "77"}),
}


@pytest.mark.parametrize("way", COMMANDS)
def test_the_variables_are_there_when_torch_is_loaded(way: str, tmp_path: Path) -> None:
    """Asked at the moment at which the import of torch begins, and ended there."""
    words, expected = COMMANDS[way]
    given = expected if way == "a setting of the user's" else {}
    (tmp_path / "sitecustomize.py").write_text(TELL)
    kept = {name: value for name, value in os.environ.items() if name not in OF_THE_USER}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**kept, **given, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1:] == [str({name: expected.get(name) for name in SHARED})]
