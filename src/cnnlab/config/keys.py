"""All keys of a command, read from its dataclasses: what help lists and typos are compared with."""

import dataclasses
import typing
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from cnnlab.config.hints import element_type, is_list
from cnnlab.config.schema import expected, join, shapes_of


@dataclass(frozen=True)
class Key:
    """One setting. owners: the choices of its group that have it; empty: all of them."""

    name: str
    hint: Any
    metadata: Any
    owners: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """Return in words what values are allowed."""
        return expected(self.hint, self.metadata)

    @property
    def is_list(self) -> bool:
        """Return whether the value is a list."""
        return is_list(self.hint)

    @property
    def description(self) -> str:
        """Return what the dataclass says about it."""
        return str(self.metadata.get("description", ""))


def walk(section_class: Any, in_use: Collection[str] = (), where: str = "") -> list[Key]:
    """Return every key below a settings dataclass, over all choices of each group.

    in_use: names of choices; a key that several have is described as these describe it.
    """
    keys: list[Key] = []
    hints = typing.get_type_hints(section_class)
    for field in dataclasses.fields(section_class):
        place = field.metadata.get("within", field.name)
        name, hint = join(where, place), hints[field.name]
        kind = element_type(hint)
        if not dataclasses.is_dataclass(kind) or is_list(hint):
            keys.append(Key(name, hint, field.metadata))
        elif (shapes := shapes_of(hint)) is not None:
            keys += _walk_choices(shapes, in_use, name)
        else:
            keys += walk(kind, in_use, name)
    return keys


def _walk_choices(shapes: dict[str, type], in_use: Collection[str], where: str) -> list[Key]:
    """Merge the keys of a group's choices; a key that all have gets no owners."""
    owners: dict[str, list[str]] = {}
    first: dict[str, Key] = {}
    for choice in sorted(shapes, key=lambda choice: choice not in in_use):
        for key in walk(shapes[choice], in_use, where):
            first.setdefault(key.name, key)
            owners.setdefault(key.name, []).append(choice)

    return [
        dataclasses.replace(
            key, owners=() if len(owners[name]) == len(shapes) else tuple(owners[name])
        )
        for name, key in first.items()
    ]
