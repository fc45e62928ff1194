"""All keys of a command, read from its dataclasses: what help lists and typos are compared with."""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from cnnlab.config.schema import Variants, element_type, expected, is_list, join


@dataclass(frozen=True)
class Key:
    """One setting. owners: the choices of its group that have it; empty: all of them."""

    name: str
    hint: Any
    metadata: Any
    owners: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        """Say in words what values are allowed."""
        return expected(self.hint, self.metadata)

    @property
    def is_list(self) -> bool:
        """Say whether the value is a list."""
        return is_list(self.hint)

    @property
    def description(self) -> str:
        """Return what the dataclass says about it."""
        return str(self.metadata.get("description", ""))


def walk(section_class: type, variants: Variants, where: str = "") -> list[Key]:
    """Return every key below a settings dataclass, over all choices of each group."""
    keys: list[Key] = []
    hints = typing.get_type_hints(section_class)
    for field in dataclasses.fields(section_class):
        place = field.metadata.get("within", field.name)
        name, kind = join(where, place), element_type(hints[field.name])
        if kind in variants:
            keys += _walk_choices(variants[kind], variants, name)
        elif dataclasses.is_dataclass(kind):
            keys += walk(typing.cast(type, kind), variants, name)
        else:
            keys.append(Key(name, hints[field.name], field.metadata))
    return keys


def _walk_choices(table: dict[str, Any], variants: Variants, where: str) -> list[Key]:
    """Merge the keys of a group's choices; a key that all have gets no owners."""
    owners: dict[str, list[str]] = {}
    first: dict[str, Key] = {}
    for choice, shape in table.items():
        for key in walk(shape, variants, where):
            first.setdefault(key.name, key)
            owners.setdefault(key.name, []).append(choice)
    return [
        dataclasses.replace(
            key, owners=() if len(owners[name]) == len(table) else tuple(owners[name])
        )
        for name, key in first.items()
    ]
