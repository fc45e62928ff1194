"""What reaches a terminal or a log goes through `safe_output` or `console`, and nowhere else."""

import ast
import io
import json
import shlex
from pathlib import Path

import pytest

from cnnlab.command import failures
from cnnlab.console import Console
from cnnlab.safe_output import command_line, escape_control, say, write_out
from tests.hostile_names import NAMES
from tests.sources import SOURCE, tree_of

DOORS = {
    "app/predict.py": "a CSV table, whose cells go through csv_cell",
    "cli.py": "flushes stdout",
    "command/sweeps.py": "a Console on stderr",
    "console.py": "the lines and tables of a command",
    "safe_output.py": "all else",
    "streams.py": "puts guards in their place",
}
"""Files that may name stdout or stderr, and why."""


def uses(tree: ast.Module) -> set[str]:
    """Return what a file writes with: print, the streams, warnings, the descriptors."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            found.add("print")

        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
                found.add("stream")
            if name in ("warnings.warn", "traceback.print_exc", "traceback.print_exception"):
                found.add(name)

        elif isinstance(node, ast.ImportFrom) and node.module == "sys":
            found |= {"stream" for alias in node.names if alias.name in ("stdout", "stderr")}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.name)
def test_a_file_writes_to_the_terminal_through_a_door(path: Path) -> None:
    where = path.relative_to(SOURCE).as_posix()
    found = uses(tree_of(path))
    assert found <= ({"stream"} if where in DOORS else set())


def test_every_door_is_in_use() -> None:
    for name in DOORS:
        assert uses(tree_of(SOURCE / name)) == {"stream"}


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "import sys\nsys.stderr.write('x')",
        "from sys import stdout",
        "import warnings\nwarnings.warn('x')",
        "show = print",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert uses(ast.parse(source))


@pytest.mark.parametrize("name", NAMES)
def test_no_door_lets_a_control_character_through(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = name.replace("\n", " ")  # a line break is the only character that doors leave
    say(told)
    write_out(told)
    failures.print_error(told)
    Console(stream=io.StringIO()).line(name)
    said = capsys.readouterr()
    assert said.err == f"cnnlab: {escape_control(told)}\n" * 2
    assert said.out == f"{escape_control(told)}\n"
    assert shlex.split(command_line("cnnlab", f"resume={escape_control(name)}"))[1] == (
        f"resume={escape_control(name)}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_log_holds_a_control_character(name: str, tmp_path: Path) -> None:
    console = Console(stream=io.StringIO())
    console.log_to(tmp_path / "train.log")
    console.line(name)
    console.record(name)
    console.table([name], [[name]], title=name)
    console.close()
    failures.report(RuntimeError(name), "bug", 1, str(tmp_path / "train.log"))
    text = (tmp_path / "train.log").read_text(encoding="utf-8")
    assert all(character.isprintable() or character == "\n" for character in text)
    assert escape_control(name) in text


def test_a_document_is_the_same_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    from cnnlab.plain_json import json_text

    write_out(json_text({"names": NAMES}))
    assert tuple(json.loads(capsys.readouterr().out)["names"]) == NAMES
