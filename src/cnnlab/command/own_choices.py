"""Own choices in Hydra's search: `model=my_net` needs no YAML file of its own."""

import contextlib

from hydra.core.config_store import ConfigStore

from cnnlab.config.own_parts import defaults_of
from cnnlab.config.tables import tables
from cnnlab.errors import UsageError


def offer() -> None:
    """Give Hydra the defaults of all own choices; a YAML file of the same name comes first.

    One that lacks a default is left out: it may have a file, or not be chosen.
    """
    store = ConfigStore.instance()
    for group, table in tables().items():
        for name in table.own:
            with contextlib.suppress(UsageError):
                store.store(name, defaults_of(group, name), group=group, provider="cnnlab")


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
