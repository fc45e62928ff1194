"""Tables of choices: one row per name of a config group, with its settings and its builder.

A builder is named by a string and imported when it is used, so that help, lists and errors need
no torch. A model, data set or augmentation is therefore its source file, its YAML file and its row.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cnnlab.errors import UsageError


def load_by_name(place: str) -> Any:
    """Import what "package.module:function" names.

    Only for strings written in the source of cnnlab: no config or checkpoint is ever read here.
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Choice:
    """One row of a table.

    config_class: the dataclass of its settings. builder: "package.module:function"; choices that
    are registered from outside may give the function itself. What builders of a group take and
    return is said at its table.
    """

    config_class: type
    builder: str | Callable[..., Any]

    def load(self) -> Callable[..., Any]:
        """Return the builder, imported now if a string names it."""
        if isinstance(self.builder, str):
            builder: Callable[..., Any] = load_by_name(self.builder)
            return builder
        return self.builder


Row = TypeVar("Row", bound=Choice)


class Table(dict[str, Row]):
    """The choices of one config group, by name.

    group: its folder below configs/. base: the dataclass of the group in the settings
    of a command; `parse` looks its table up to find the dataclass that a name selects.
    """

    def __init__(self, group: str, base: type, rows: Mapping[str, Row]) -> None:
        super().__init__(rows)
        self.group = group
        self._built_in = frozenset(rows)
        _TABLES[base] = self

    def register(self, name: str, row: Row) -> None:
        """Add a choice of your own, for modules listed in `plugins`.

        Its YAML file `<group>/<name>.yaml` is found in the folder given by --config-dir.
        Registering a name again replaces your own row. Raises UsageError for a built-in name.
        """
        if name in self._built_in:
            what = f"{self.group} '{name}' is built in"
            raise UsageError(what, hint=f"give your {self.group} another name")
        self[name] = row


_TABLES: dict[type, Table[Any]] = {}


def table_of(base: type) -> Table[Any] | None:
    """Return the table of a group's base dataclass, None for a dataclass of one shape."""
    return _TABLES.get(base)
