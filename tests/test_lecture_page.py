"""docs/lecture.md and docs/lecture.ipynb: every command runs and prints what the page says."""

import ast
import importlib
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.cli import main
from cnnlab.command import composing
from cnnlab.command.line import read as read_line

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "lecture.md"
NOTEBOOK = DOCS / "lecture.ipynb"
MOST_BYTES = 1_000_000
OWN_PICTURE = "docs/images/handwritten_digit.jpg"


def commands() -> list[tuple[str, list[str]]]:
    """Return each command of the page, with the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ cnnlab "):
                found.append((line.removeprefix("$ cnnlab "), []))
            else:
                found[-1][1].append(line)
    return found


FIGURES = [(line, said) for line, said in commands() if line.startswith("summary ")]
"""What is computed without data and without training."""


def code_of_the_notebook() -> str:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells), "outputs are not committed"
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def run_and_compare(line: str, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)) == 0, line
    printed = capsys.readouterr().out
    for expected in said:
        assert expected.strip() in printed, (line, expected)


@pytest.mark.parametrize(("line", "said"), FIGURES, ids=[line for line, _ in FIGURES])
def test_the_figures_of_the_page_are_printed(
    line: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said
    run_and_compare(line, said, capsys)


@pytest.mark.slow
def test_every_other_command_of_the_page_and_of_the_notebook_can_be_read() -> None:
    lines = [line for line, _ in commands() if not line.startswith("summary ")]
    lines += re.findall(r'^cnnlab\("(.*)"\)', code_of_the_notebook(), re.MULTILINE)
    assert len(lines) > 15
    for line in lines:
        verb, *words = shlex.split(line)
        composing.check(read_line(verb, words))


def test_the_pages_pictures_exist_and_are_small() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = [DOCS / name for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)]
    assert {path.name for path in (DOCS / "images" / "lecture").iterdir()} <= {
        path.name for path in shown
    }
    assert sum(path.stat().st_size for path in shown) < MOST_BYTES


def test_the_notebook_is_python() -> None:
    assert ast.parse(code_of_the_notebook())


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / OWN_PICTURE
    picture.parent.mkdir(parents=True)
    shutil.copy(DOCS.parent / OWN_PICTURE, picture)

    for line, said in commands():
        run_and_compare(line, said, capsys)
    assert len(list((tmp_path / "outputs" / "digits" / "checkpoints").glob("step_*"))) == 4


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    if all(importlib.util.find_spec(name) for name in ("nbclient", "nbformat", "ipykernel")):
        notebook = importlib.import_module("nbformat").read(NOTEBOOK, 4)
        client = importlib.import_module("nbclient").NotebookClient
        client(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    else:
        words = [sys.executable, "-c", code_of_the_notebook()]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    drawn = {path.stem for path in (tmp_path / "outputs").rglob("*.png")}
    assert {"parameters", "blocks", "filters", "invariance"} <= drawn
