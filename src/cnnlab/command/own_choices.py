"""Own choices in Hydra's search: `model=my_net` needs no YAML file of its own."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore

from cnnlab.command.line import Request
from cnnlab.config.own_parts import defaults_of
from cnnlab.config.tables import tables
from cnnlab.errors import UsageError
from cnnlab.safe_output import escape_control


def offer(request: Request) -> None:
    """Give Hydra the defaults of all own choices that have no YAML file in the user's folders.

    Hydra would take those of a choice with a file for its schema, and warn. A choice that lacks a
    default is left out: it may not be chosen.
    """
    folders = [Path(folder) for folder in request.config_folders]
    searched = [word for word in request.overrides if word.startswith("hydra.searchpath=")]
    folders += [Path(part) for word in searched for part in _paths_in(word)]

    store = ConfigStore.instance()
    for group, table in tables().items():
        offered = store.repo.setdefault(group, {})
        for name in table.own:
            offered.pop(f"{name}.yaml", None)  # of an earlier command in this process
            if not any((folder / group / f"{name}.yaml").is_file() for folder in folders):
                with contextlib.suppress(UsageError):
                    store.store(name, defaults_of(group, name), group=group, provider="cnnlab")


def refuse_hydras(here: Sequence[str], named: Sequence[str]) -> None:
    """Raise UsageError where the current folder has settings of Hydra's own: they can name code.

    here: the current folder where it is searched, else nothing. named: folders that the user has
    named, which are trusted. Every command would read such a file, hydra/launcher/basic.yaml for
    one, while a choice of the folder is read when its name is typed.
    """
    trusted = {Path(folder).absolute() for folder in named}
    for folder in map(Path, here):
        if folder not in trusted and os.path.lexists(folder / "hydra"):
            raise UsageError(
                "the current folder holds settings of Hydra, which may name code to run",
                escape_control(str(folder / "hydra")),
                "leave this folder, or name it if it is yours: --config-dir=.",
            )


def _paths_in(word: str) -> list[str]:
    """Return the folders of `hydra.searchpath=[file://a,'file:///b']`."""
    parts = word.partition("=")[2].strip("[]").split(",")
    return [part.strip().strip("'\"").removeprefix("file://") for part in parts]


def lack_of_defaults(group: str, name: str) -> UsageError | None:
    """Return why an own choice that was asked for could not be offered; None: it is another's."""
    table = tables().get(group)
    if table is None or name not in table.own:
        return None
    try:
        defaults_of(group, name)
    except UsageError as error:
        return error
    return None
