"""docs/python.md: every block runs as printed and in its order, also in a Jupyter kernel."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cnnlab

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SHOWS_ITSELF = ("run", "tested", "found", "data", "history")
"""Variables of the page whose value a notebook shows as HTML."""


def test_the_page_uses_public_names_alone_and_each_of_them() -> None:
    names = {
        node.attr
        for node in ast.walk(ast.parse("\n".join(BLOCKS)))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "cnnlab"
    }
    functions = {name for name in cnnlab.__all__ if name.islower() and "__" not in name}

    assert names <= set(cnnlab.__all__)
    assert functions <= names


def test_a_loop_of_ones_own_has_fifteen_lines_at_most() -> None:
    loop = next(block for block in BLOCKS if "data.batches(" in block)
    assert len([line for line in loop.splitlines() if line.strip()]) <= 15


@pytest.mark.slow
def test_every_block_runs_as_printed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "\n".join(BLOCKS)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "did you mean 'trainer.epochs'?" in done.stdout
    assert "epoch 2/2  loss" in done.stdout


@pytest.mark.slow
def test_the_page_is_typed_for_whoever_uses_the_package(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("\n".join(BLOCKS))
    words = [sys.executable, "-m", "mypy", str(tmp_path / "page.py")]
    done = subprocess.run(words, cwd=PAGE.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_every_block_runs_in_a_jupyter_kernel(tmp_path: Path) -> None:
    missing = [
        name for name in ("nbclient", "nbformat", "ipykernel") if not importlib.util.find_spec(name)
    ]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install -e '.[notebook]'")

    made = importlib.import_module("nbformat.v4")
    sources = [*BLOCKS, *SHOWS_ITSELF, STOPPED]
    notebook = made.new_notebook(cells=[made.new_code_cell(source) for source in sources])
    client = importlib.import_module("nbclient").NotebookClient
    client(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert {output.output_type for output in notebook.cells[0].outputs} == {"stream"}
    assert "epoch   3/3" in "".join(map(_text_of, notebook.cells[0].outputs))
    shown = [_html_of(cell) for cell in notebook.cells[len(BLOCKS) : -1]]
    assert all("<table>" in html for html in shown), shown
    assert not [text for text in map(_text_of, outputs) if re.search(r"[\x00-\x08\x0b-\x1f]", text)]
    assert "everything is saved" in "".join(map(_text_of, outputs))


STOPPED = """
import os, signal, threading, time

def press_ctrl_c():
    while not os.path.exists("stopped/checkpoints/last.safetensors"):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

before = signal.getsignal(signal.SIGINT)
threading.Thread(target=press_ctrl_c).start()
try:
    cnnlab.train("trainer.epochs=10000", "hydra.run.dir=stopped")
except KeyboardInterrupt as interruption:
    print(interruption)
assert signal.getsignal(signal.SIGINT) == before
"""


def _html_of(cell: Any) -> str:
    return "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)


def _text_of(output: Any) -> str:
    return str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
