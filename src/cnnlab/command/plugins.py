"""The user's own modules, imported by name: `plugins=[my_models]`.

They register models (`cnnlab.models.register`) and other choices (`Table.register`). Nothing else
is imported by a name in a config: a checkpoint or run folder from another author runs no code.
"""

import importlib
import sys
from collections.abc import Sequence

from cnnlab.errors import UsageError


def load_plugins(names: Sequence[str]) -> None:
    """Import each module, from the current folder too.

    Raises UsageError when one cannot be imported.
    """
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise UsageError(
                f"plugins: cannot import '{name}'",
                f"{type(error).__name__}: {error}".splitlines()[0],
                "name a module of the current folder or of the environment",
            ) from error
