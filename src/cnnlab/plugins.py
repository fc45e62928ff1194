"""The user's own modules, which add models and other parts: `plugins=[./my_parts.py]`.

They are named on the command line, as a file or as a module, or belong to an installed package
with an entry point `cnnlab.plugins`. Nothing else is imported by a name in a config: a checkpoint
or run folder from another author runs no code. What they register is in the tables of `config`.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from cnnlab import plugin_errors
from cnnlab.errors import UsageError
from cnnlab.plugin_errors import OWN_CODE, is_ours

GROUP = "cnnlab.plugins"
"""Of the entry points of installed packages."""

CURRENT_FOLDER = ""
"""As Python writes it in sys.path."""


@dataclass(frozen=True)
class Plugin:
    """An imported module of the user's.

    name: as it is named in `plugins`, a file by its whole path. package: the installed package
    whose entry point it is, with its version; None: it was named. digest: SHA-256 of its source, of
    all its files for a package.
    """

    name: str
    module: ModuleType
    file: Path | None
    digest: str | None
    package: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return what run.json records."""
        return {
            "module": self.module.__name__,
            "file": None if self.file is None else str(self.file),
            "sha256": self.digest,
            "package": self.package,
        }


_loaded: dict[str, Plugin] = {}
_installed: list[str] = []


def loaded() -> list[Plugin]:
    """Return the modules that were imported, in their order."""
    return list(_loaded.values())


def named_in(words: Sequence[str]) -> list[str]:
    """Return the modules that words of a command line name: plugins=[./a.py,b]."""
    lists = [word.partition("=")[2] for word in words if word.lstrip("+").startswith("plugins=")]
    parts = [part for each in lists for part in each.strip("[]").split(",")]
    return [name for part in parts if (name := part.strip().strip("'\""))]


def load(names: Sequence[str]) -> list[str]:
    """Import each module, and return how to name it anywhere: a file by its whole path.

    A name that ends in .py or holds a slash is a file; any other one is a module of the current
    folder, or of where Python searches. The current folder comes first for the modules named, and
    last for what they import: no file in it stands in for a module of a library. Raises UsageError
    for one that is not there or cannot be imported.
    """
    return [_load(name) for name in names]


def load_installed() -> None:
    """Import the modules of installed packages with an entry point `cnnlab.plugins`, once.

    Raises UsageError for one that cannot be imported.
    """
    if _installed:
        return
    for point in importlib.metadata.entry_points(group=GROUP):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else point.name
        known = set(sys.modules)
        module = _guarded(point.value, functools.partial(_import, point.value), package)
        _note(point.value, module, known, package)
    _installed.append(GROUP)


def describe(named: Sequence[str]) -> list[dict[str, Any]]:
    """Return what run.json records of the plugins named, and of those that are installed."""
    used = [one for one in loaded() if one.package is not None or one.name in named]
    return [plugin.describe() for plugin in used]


def changes_since(recorded: object) -> list[str]:
    """Return a line for each plugin whose source differs from what a run recorded."""
    found = []
    now = {plugin.module.__name__: plugin for plugin in loaded()}
    for entry in recorded if isinstance(recorded, list) else []:
        plugin = now.get(str(entry.get("module"))) if isinstance(entry, dict) else None
        if plugin is not None and plugin.digest != entry.get("sha256"):
            before, after = str(entry.get("sha256"))[:12], str(plugin.digest)[:12]
            found.append(
                f"warning: {plugin.module.__name__} is not the code that the run began with "
                f"(sha256 {before} -> {after}): continuing with the new code"
            )
    return found


def _load(name: str) -> str:
    is_file = name.endswith(".py") or "/" in name
    key = str(Path(name).absolute()) if is_file else name
    known = set(sys.modules)
    if (before := _loaded.get(key)) is not None:
        if before.digest == _digest(before.module):
            return key
        sys.modules.pop(before.module.__name__, None)  # edited since: in a notebook

    if not is_file and CURRENT_FOLDER not in sys.path:
        sys.path.append(CURRENT_FOLDER)
    module = _guarded(name, lambda: _from_file(Path(key)) if is_file else _by_name(name))
    _note(key, module, known)
    return key


def _guarded(name: str, find: Callable[[], ModuleType], package: str | None = None) -> ModuleType:
    """Return the module; raise UsageError, with the line that failed, where it has none."""
    try:
        return find()
    except Exception as error:
        raise plugin_errors.of_import(error, name, package) from error


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name; what it imports may lie in its folder too."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))

    name = path.stem
    there = sys.modules.get(name)
    if there is not None:
        if getattr(there, "__file__", None) == str(path):
            return there
        raise UsageError(
            f"another module is called '{name}': {getattr(there, '__file__', 'built in')}",
            hint="rename your file",
        )

    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return _execute(name, importlib.util.spec_from_file_location(name, path))


def _import(name: str) -> ModuleType:
    return importlib.import_module(name)


def _by_name(name: str) -> ModuleType:
    top = name.partition(".")[0]
    if top not in sys.modules:
        found = PathFinder.find_spec(top, [CURRENT_FOLDER])
        if found is not None and found.loader is not None:  # else a folder without __init__.py
            _execute(top, found)
    return _import(name)


def _execute(name: str, spec: ModuleSpec | None) -> ModuleType:
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    OWN_CODE.add(str(spec.origin))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _note(key: str, module: ModuleType, known: set[str], package: str | None = None) -> None:
    """Keep a module with its digest, and which files are the user's code."""
    file = getattr(module, "__file__", None)
    _loaded[key] = Plugin(key, module, file and Path(file), _digest(module), package)
    if file is None:
        return

    folder = Path(file).parent
    OWN_CODE.add(file)
    for name in set(sys.modules) - known:
        other = getattr(sys.modules[name], "__file__", None)
        if other and Path(other).is_relative_to(folder) and not _is_library(Path(other), folder):
            OWN_CODE.add(other)


def _is_library(file: Path, folder: Path) -> bool:
    """Return whether a file below a folder is in an environment there, or cnnlab's own."""
    return "site-packages" in file.relative_to(folder).parts or is_ours(str(file))


def _digest(module: ModuleType) -> str | None:
    """Return the SHA-256 of a module's file, or of all Python files of a package, in hex."""
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    is_package = hasattr(module, "__path__")
    files = sorted(Path(file).parent.rglob("*.py")) if is_package else [Path(file)]

    found = hashlib.sha256()
    for each in files:
        content = each.read_bytes()
        found.update(f"{each.relative_to(Path(file).parent)} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()
