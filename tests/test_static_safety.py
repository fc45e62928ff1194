"""Nothing in src can turn data into code: read from the source, name by name.

The exceptions are listed here, each with the reason; a new one has to be argued for in this file.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cnnlab"
FILES = sorted(SOURCE.rglob("*.py"))

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *("torch.load", "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "tempfile.mktemp"),
    *("pickle.load", "pickle.loads", "importlib.import_module", "runpy.run_path"),
    *("instantiate", "hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_class"),
    *("get_class", "get_method", "get_object", "shutil.unpack_archive"),
}
KEYWORDS = {"weights_only": False, "allow_pickle": True, "shell": True}

ALLOWED = {
    ("data/cifar.py", "import pickle"): "CIFAR's own files; the unpickler can make only arrays",
    (
        "conversion/inert_pickle.py",
        "torch.load",
    ): "foreign weights, weights_only=True, tensors only",
    (
        "config/tables.py",
        "importlib.import_module",
    ): "names in our own tables of choices and commands, so that help needs no torch",
    ("plugins.py", "importlib.import_module"): "plugins=[module] of the command line, entry points",
}


def dotted(node: ast.expr) -> str:
    """Return 'torch.load' for the expression, '' for one that is no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def original_names(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name stands for: {'np': 'numpy', 'load': 'torch.load'}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def call_problems(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    head, _, rest = dotted(node.func).partition(".")
    name = ".".join(part for part in (names.get(head, head), rest) if part)
    if name in CALLS:
        yield name
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    for keyword, bad in KEYWORDS.items():
        value = given.get(keyword)
        if isinstance(value, ast.Constant) and value.value is bad:
            yield f"{keyword}={bad}"
    last = name.rpartition(".")[2]
    if last in ("extractall", "extract"):
        chosen = given.get("filter")
        if not (isinstance(chosen, ast.Constant) and chosen.value == "data"):
            yield f"{last} without filter='data'"
    if name == "torch.load" and not isinstance(given.get("weights_only"), ast.Constant):
        yield "torch.load without weights_only=True"


def problems(source: str) -> set[str]:
    """Return every dangerous thing a source file imports or calls."""
    tree = ast.parse(source)
    names, found = original_names(tree), set()
    for node in ast.walk(tree):
        modules = {module.partition(".")[0] for module in imported(node)}
        found |= {f"import {module}" for module in modules & MODULES}
        if isinstance(node, ast.Call):
            found |= set(call_problems(node, names))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_source_file_can_turn_data_into_code(path: Path) -> None:
    where = path.relative_to(SOURCE).as_posix()
    unexplained = {what for what in problems(path.read_text()) if (where, what) not in ALLOWED}
    assert not unexplained


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "import pickle"),
        ("from pickle import loads as f\nf(b'')", "pickle.loads"),
        ("import torch as t\nt.load('x', weights_only=True)", "torch.load"),
        ("from torch import load\nload('x', weights_only=False)", "weights_only=False"),
        ("import torch\ntorch.load('x')", "torch.load without weights_only=True"),
        ("eval('1')", "eval"),
        ("from hydra.utils import instantiate as make\nmake({})", "hydra.utils.instantiate"),
        ("import yaml\nyaml.load('')", "yaml.load"),
        ("tar.extractall('.')", "extractall without filter='data'"),
        ("tar.extractall('.', filter='fully_trusted')", "extractall without filter='data'"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
        ("import subprocess\nsubprocess.run('x', shell=True)", "shell=True"),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, what: str) -> None:
    assert what in problems(source)


def test_the_cifar_unpickler_makes_nothing_but_arrays() -> None:
    tree = ast.parse((SOURCE / "data" / "cifar.py").read_text())
    calls = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"pickle.load", "pickle.loads", "pickle.Unpickler"}
    finders = [
        n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "find_class"
    ]
    assert len(finders) == 1


def test_no_config_names_a_class_to_build() -> None:
    configs = SOURCE.parents[1] / "configs"
    for path in configs.rglob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if "_target_" in line]
        assert all("cnnlab.command" in line for line in lines), f"{path}: {lines}"
