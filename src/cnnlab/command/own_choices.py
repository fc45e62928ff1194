"""Own choices in Hydra's search: `model=my_net` needs no YAML file of its own."""

from hydra.core.config_store import ConfigStore

from cnnlab.config.own_parts import defaults_of
from cnnlab.config.tables import tables


def offer() -> None:
    """Give Hydra the defaults of all own choices; a YAML file of the same name comes first.

    Raises UsageError for a setting without a default.
    """
    store = ConfigStore.instance()
    for group, table in tables().items():
        for name in table.own:
            store.store(name, defaults_of(group, name), group=group, provider="cnnlab")
