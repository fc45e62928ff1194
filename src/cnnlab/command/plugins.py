"""The user's own modules, imported by name: `plugins=[my_models]`.

They register models (`cnnlab.models.register`) and other choices (`Table.register`). Nothing else
is imported by a name in a config: a checkpoint or run folder from another author runs no code.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder

from cnnlab.errors import UsageError

CURRENT_FOLDER = ""
"""As Python writes it in sys.path."""


def load_plugins(names: Sequence[str]) -> None:
    """Import each module, from the current folder or from where Python searches.

    The current folder comes first for the modules named, and last for what they import: no file in
    it stands in for a module of a library. Raises UsageError when one cannot be imported.
    """
    if names and CURRENT_FOLDER not in sys.path:
        sys.path.append(CURRENT_FOLDER)
    for name in names:
        try:
            _import(name)
        except Exception as error:
            raise UsageError(
                f"plugins: cannot import '{name}'",
                f"{type(error).__name__}: {error}".splitlines()[0],
                "name a module of the current folder or of the environment",
            ) from error


def _import(name: str) -> None:
    top = name.partition(".")[0]
    if top not in sys.modules:
        _import_here(top)
    importlib.import_module(name)


def _import_here(top: str) -> None:
    """Import a module or package of the current folder, if there is one of this name."""
    found = PathFinder.find_spec(top, [CURRENT_FOLDER])
    if found is None or found.loader is None:  # nothing, or a folder without __init__.py
        return

    module = sys.modules[top] = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(top, None)
        raise
