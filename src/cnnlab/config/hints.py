"""What the type of a setting says: null, a list, words in place of a list, and of what."""

import types
import typing
from typing import Any


def is_optional(hint: Any) -> bool:
    """Return whether null is allowed."""
    return types.NoneType in typing.get_args(hint)


def is_list(hint: Any) -> bool:
    """Return whether the setting takes a list."""
    bare = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    return typing.get_origin(hint) is list or any(typing.get_origin(b) is list for b in bare)


def takes_words(hint: Any) -> bool:
    """Return whether a word may stand in place of a list or of a truth: `list[T] | str`."""
    if typing.get_origin(hint) is list or str not in typing.get_args(hint):
        return False
    return is_list(hint) or element_type(hint) is not str


def element_type(hint: Any) -> Any:
    """Return the scalar type inside `T`, `T | None`, `list[T]` and `list[T] | None`."""
    while typing.get_args(hint):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return hint
