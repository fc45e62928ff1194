"""The house plan holds: imports run downwards, rooms stay apart, nothing grows out of hand."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import nodes_of, tree_of

SOURCE = Path(__file__).parents[1] / "src"
FILES = sorted((SOURCE / "cnnlab").rglob("*.py"))
FLOORS = (
    {"config", "errors", "safe_output", ""},
    {"SINGLE FILES"},  # whatever is named on no other floor
    {"data", "models", "training", "evaluation", "visualization"},
    {"reports", "playground"},
    {"inference"},
    {"conversion"},
    {"trainer"},
    {"reproduction"},
    {"app"},
    {"cli", "__main__", "command", "face"},
)
"""From the ground up; imports run downwards."""

FACE = FLOORS[-1]
APART = FLOORS[2:-1]
"""Floors whose rooms do not import each other."""

TYPES = {("visualization", "cnnlab.models.network")}
"""(room, module of a room beside it that it may import): pictures are drawn of networks and their
layers, whose types would otherwise be written as Any."""

MOST_LINES, MOST_BODY_LINES, MOST_PARAMETERS = 300, 50, 7


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def part_of(module: str) -> str:
    """Return the room or single file below the package: `models`, `images`; "" for the package."""
    return [*module.split("."), ""][1]


def floor_of(part: str) -> int:
    """Return the floor on which a part is; single files share one."""
    return next((number for number, parts in enumerate(FLOORS) if part in parts), 1)


def imports_of(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield each module of ours that a file imports, wherever the statement stands."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((a.name, node) for a in node.names if a.name.split(".")[0] == "cnnlab")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if (node.module or "").split(".")[0] == "cnnlab":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield (inner if inner in MODULES else str(node.module)), node


@functools.cache
def lines_for_types(path: Path) -> list[range]:
    """Return the lines of a file that stand below `if TYPE_CHECKING`."""
    return [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in nodes_of(path)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]


def is_for_types_only(path: Path, wanted: ast.AST) -> bool:
    """Say whether an import stands below `if TYPE_CHECKING`."""
    return any(wanted.lineno in lines for lines in lines_for_types(path))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_downwards(path: Path) -> None:
    own = part_of(module_of(path))
    for target, _ in imports_of(path):
        other = part_of(target)
        if other == own:
            continue
        if own == "" and module_of(path) == "cnnlab":
            continue  # the package offers the names of the face, imported late
        assert floor_of(other) <= floor_of(own), f"{path} imports up: {target}"
        beside = any({own, other} <= floor for floor in APART)
        assert not beside or (own, target) in TYPES, f"{path} imports a room beside it"


def test_there_is_no_import_cycle() -> None:
    edges = {
        module_of(path): {
            target for target, node in imports_of(path) if not is_for_types_only(path, node)
        }
        - {module_of(path), "cnnlab"}
        for path in FILES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module in done:
            return
        for target in sorted(edges.get(module, set())):
            visit(target, (*trail, module))
        done.add(module)

    for module in sorted(edges):
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES, path
    for node in nodes_of(path):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body_lines = (node.end_lineno or 0) - node.body[0].lineno + 1
        names = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        counted = [name for name in names if name.arg not in ("self", "cls")]
        assert body_lines <= MOST_BODY_LINES, f"{path}: {node.name} has {body_lines} lines"
        assert len(counted) <= MOST_PARAMETERS, f"{path}: {node.name} takes {len(counted)}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), path


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "misc", "base", "manager"])
def test_no_file_has_a_name_that_says_nothing(word: str) -> None:
    assert not [module for module in MODULES if word in module.split(".")]


def test_only_the_command_line_knows_hydra() -> None:
    allowed = {"cli", "command"}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        knows = any(f"{word} {name}" in text for word in ("import", "from") for name in KNOWN)
        assert not knows or part_of(module_of(path)) in allowed, path


KNOWN = ("hydra", "omegaconf")


def test_nothing_below_the_command_line_ends_the_process_or_prints() -> None:
    """`print` is for the face, the verbs and the console; `sys.exit` for the scripts alone."""
    for path in FILES:
        part = part_of(module_of(path))
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name != "sys.exit" or part == "__main__", f"{path}:{node.lineno}"
                speaks = part in FACE | {"app", "console"}
                assert name != "print" or speaks, f"{path}:{node.lineno} prints"


def test_the_architecture_page_lists_every_file() -> None:
    house = SOURCE.parent / "scripts" / "house.py"
    check = subprocess.run([sys.executable, str(house), "--check"], check=False)
    assert check.returncode == 0, "docs/architecture.md is out of date: python scripts/house.py"
