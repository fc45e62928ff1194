"""Modules of a user's own in tests: written into a folder, and forgotten afterwards."""

import contextlib
import sys
from collections.abc import Iterator

from cnnlab import plugins
from cnnlab.config import PICTURES
from cnnlab.config.tables import tables
from cnnlab.plugin_errors import OWN_CODE


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """Remove afterwards what modules of `plugins` have added to this process."""
    path = list(sys.path)
    try:
        yield
    finally:
        forget()
        sys.path[:] = path


def forget() -> None:
    """Leave this process as if no command had named a module."""
    for table in (*tables().values(), PICTURES):
        for name in list(table.own):
            table.remove(name)
    for plugin in plugins.loaded():
        sys.modules.pop(plugin.module.__name__, None)
    plugins._loaded.clear()
    plugins._installed.clear()
    OWN_CODE.clear()
