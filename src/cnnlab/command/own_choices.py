"""Own choices in Hydra's search: `model=my_net` needs no YAML file of its own."""

from pathlib import Path

from hydra.core.config_store import ConfigStore

from cnnlab.command.line import Request
from cnnlab.config.own_parts import defaults_of
from cnnlab.config.tables import tables


def offer(request: Request) -> None:
    """Give Hydra the defaults of all own choices that have no YAML file in the user's folders.

    Raises UsageError for a setting without a default.
    """
    folders = [Path(folder) for folder in request.config_folders]
    searched = [word for word in request.overrides if word.startswith("hydra.searchpath=")]
    folders += [Path(part) for word in searched for part in _paths_in(word)]

    store = ConfigStore.instance()
    for group, table in tables().items():
        for name in table.own:
            if not any((folder / group / f"{name}.yaml").is_file() for folder in folders):
                store.store(name, defaults_of(group, name), group=group, provider="cnnlab")


def _paths_in(word: str) -> list[str]:
    """Return the folders of `hydra.searchpath=[file://a,'file:///b']`."""
    parts = word.partition("=")[2].strip("[]").split(",")
    return [part.strip().strip("'\"").removeprefix("file://") for part in parts]
