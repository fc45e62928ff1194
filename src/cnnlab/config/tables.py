"""Tables of choices: one row per name of a config group, with its settings and its builder.

A builder is named by a string and imported when it is used, so that help, lists and errors need
no torch. A model, data set or augmentation is therefore its source file, its YAML file and its row;
one of your own is a function and a row (docs/extending.md).
"""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cnnlab.errors import UsageError


def load_by_name(place: str) -> Any:
    """Import what "package.module:function" names.

    Only for strings written in the source of cnnlab, or in a module that the user has named: no
    config or checkpoint is ever read here.
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def loaded(builder: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a row names or holds."""
    function: Callable[..., Any] = load_by_name(builder) if isinstance(builder, str) else builder
    return function


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
        return loaded(self.builder)

    @property
    def source(self) -> str | Callable[..., Any]:
        """Return what the row is made of, as it was given."""
        return self.builder

    @property
    def about(self) -> str:
        """Return in a line what an own choice is: of its builder's docstring, or its dataclass'."""
        written = getattr(self.builder, "__doc__", None) or self.config_class.__doc__ or ""
        return next(iter(written.strip().splitlines()), "")


Row = TypeVar("Row", bound=Any)


class Register(dict[str, Row]):
    """Rows by name: those that are built in, and those that modules of `plugins` add.

    kind: what a row is, in messages. own: the defaults of each added row, by its name.
    """

    def __init__(self, kind: str, rows: Mapping[str, Row]) -> None:
        super().__init__(rows)
        self.kind = kind
        self.own: dict[str, Mapping[str, Any]] = {}
        self._built_in = frozenset(rows)

    def register(self, name: str, row: Row, **defaults: Any) -> None:
        """Add a row of your own (docs/extending.md).

        defaults: of its settings, in place of those that its dataclass or the house has. The same
        function may be registered again, as a notebook does. Raises UsageError for a name that
        exists, and for one that cannot be typed.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise UsageError(
                f"{self.kind} '{name}' cannot be typed", hint="use letters, digits and _"
            )
        if name in self._built_in:
            what = f"{self.kind} '{name}' is built in"
            raise UsageError(what, hint=f"give your {self.kind} another name")
        if name in self and _origin(self[name]) != _origin(row):
            raise UsageError(
                f"{self.kind} '{name}' exists already, from {'.'.join(_origin(self[name]))}",
                hint=f"give your {self.kind} another name",
            )
        self[name] = row
        self.own[name] = defaults

    def remove(self, name: str) -> None:
        """Remove a row of your own, if there is one."""
        if self.own.pop(name, None) is not None:
            del self[name]


def _origin(row: Any) -> tuple[str, str]:
    """Return module and name of the function that a row of somebody's own was given."""
    source = row.source
    if isinstance(source, str):
        module, _, name = source.partition(":")
        return module, name
    return str(getattr(source, "__module__", "?")), str(getattr(source, "__qualname__", "?"))


class Table(Register[Row]):
    """The choices of one config group, by name.

    group: its folder below configs/. base: the dataclass of the group in the settings
    of a command; `parse` looks its table up to find the dataclass that a name selects. usual: the
    row whose file has the defaults of the settings that own choices share with it; None: the first.
    """

    def __init__(
        self, group: str, base: type, rows: Mapping[str, Row], usual: str | None = None
    ) -> None:
        super().__init__(group, rows)
        self.group, self.base = group, base
        self.usual = usual or next(iter(rows))
        _TABLES[base] = self

    def register(self, name: str, row: Row, **defaults: Any) -> None:
        """Add a choice of your own; its settings are a dataclass derived from the group's."""
        shape = row.config_class
        if not (issubclass(shape, self.base) and "__dataclass_fields__" in vars(shape)):
            raise UsageError(
                f"the settings of {self.group} '{name}' are not a dataclass of the group",
                hint=f"derive it: @dataclass(kw_only=True) class ...({self.base.__name__})",
            )
        known = {field.name for field in dataclasses.fields(shape)}
        if unknown := sorted(defaults.keys() - known - {"recipe"}):
            raise UsageError(
                f"{self.group} '{name}' has no setting '{unknown[0]}' to give a default",
                hint=f"{shape.__name__} has: {', '.join(known - {'name'}) or 'none'}",
            )
        super().register(name, row, **defaults)


_TABLES: dict[type, Table[Any]] = {}


def table_of(base: type) -> Table[Any] | None:
    """Return the table of a group's base dataclass, None for a dataclass of one shape."""
    return _TABLES.get(base)


def tables() -> dict[str, Table[Any]]:
    """Return all tables by their group."""
    return {table.group: table for table in _TABLES.values()}
