"""The package's source as syntax trees, parsed once for all tests of a process."""

import ast
import functools
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "cnnlab"


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the tree of a file; it is shared, so nobody changes it."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file, in the order of `ast.walk`."""
    return tuple(ast.walk(tree_of(path)))


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Return the tree of each file."""
    return {path: tree_of(path) for path in sorted(SOURCE.rglob("*.py"))}
