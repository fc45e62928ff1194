"""Typed settings: a dataclass field that knows its range, and plain data -> dataclass.

Used for composed configs and for the config inside a checkpoint alike, so nothing here resolves
an interpolation, imports a name or knows YAML.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Collection
from typing import Any, TypeVar

from cnnlab.config import renamed
from cnnlab.config.hints import element_type, is_list, is_optional, takes_words
from cnnlab.config.tables import table_of
from cnnlab.errors import UsageError

Section = TypeVar("Section")

MISSING = dataclasses.MISSING
"""Of a setting that every stored config has."""


def setting(
    description: str,
    *,
    choices: Collection[str] | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    earlier: Any = MISSING,
) -> Any:
    """Declare a required dataclass field with its help text and its range.

    The bounds hold for numbers, for each element of a list, and not for null. Defaults live in
    configs/ alone; a field without a value in the composed config is an error. choices: of a
    `list[T] | str` or a `bool | str`, the words that may stand in place of the other. earlier: what
    runs did before there was this setting, for configs that were stored without it (`completed`),
    or a function of their section that returns it.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    metadata: dict[str, Any] = {"description": description, "choices": choices, "bounds": bounds}
    if earlier is not MISSING:
        metadata["earlier"] = earlier
    return dataclasses.field(metadata=metadata)


def settings_within(section: str) -> Any:
    """Declare a field that is a dataclass, whose keys are written among those of `section`."""
    return dataclasses.field(metadata={"within": section})


def parse(section_class: type[Section], plain: Any, where: str = "") -> Section:
    """Make a settings dataclass from plain dicts, lists, strings, numbers, booleans and None.

    section_class: for a group that has a table, the base dataclass; `name` selects the row.
    where: the dotted key of this section, for messages.
    Raises UsageError naming the key, the value and what was expected: for an unknown or missing
    key, a key of another choice of the group, a wrong type, a value out of range.
    """
    section: Section = _section(section_class, plain, where)
    return section


def _section(hint: Any, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise UsageError(f"{where or 'the config'} must be a mapping, got {plain!r}")

    chosen = _choose(hint, plain, where)
    fields = {field.name: field for field in dataclasses.fields(chosen)}
    hints = typing.get_type_hints(chosen)
    plain, places = _take_out(fields, hints, plain)

    if unknown := [str(key) for key in plain if key not in fields]:
        raise _unknown(hint, chosen, unknown[0], where)
    if missing := [name for name in fields if name not in plain]:
        raise UsageError(f"'{join(where, missing[0])}' is missing from the config")

    values = {}
    for name, field in fields.items():
        key = join(where, places.get(name, name))
        values[name] = _value(hints[name], field.metadata, plain[name], key)
    return chosen(**values)


def _take_out(
    fields: dict[str, Any], hints: dict[str, Any], plain: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Give each `within` field a mapping of its own; return the plain data, and where each was."""
    places = {
        name: field.metadata["within"]
        for name, field in fields.items()
        if "within" in field.metadata
    }

    for name, section in places.items():
        held = plain.get(section)
        if not isinstance(held, dict):
            continue
        own = {field.name for field in dataclasses.fields(hints[name])}
        plain = plain | {
            section: {key: value for key, value in held.items() if key not in own},
            name: {key: value for key, value in held.items() if key in own},
        }
    return plain, places


def to_plain(section: Any) -> dict[str, Any]:
    """Turn a settings dataclass back into what `parse` reads; ready for JSON and YAML."""
    plain = dataclasses.asdict(section)
    assert isinstance(plain, dict)
    for field in dataclasses.fields(section):
        if "within" in field.metadata:
            plain[field.metadata["within"]].update(plain.pop(field.name))
    return plain


def flat(plain: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return nested plain settings by dotted key: {'trainer.epochs': 20, ...}."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        key = join(where, name)
        found |= flat(value, key) if isinstance(value, dict) else {key: value}
    return found


def join(where: str, name: str) -> str:
    """Return the dotted key of `name` inside `where`."""
    return f"{where}.{name}" if where else name


def expected(hint: Any, metadata: Any) -> str:
    """Return in words what a setting takes: 'a number above 0', 'one of max, average'."""
    if metadata.get("choices") and not takes_words(hint):
        words = "one of " + ", ".join(metadata["choices"])
    elif dataclasses.is_dataclass(section := element_type(hint)):
        words = "{" + ", ".join(field.name for field in dataclasses.fields(section)) + "}"
    else:
        words = _TYPE_WORDS.get(element_type(hint), "a value")

    bounds = metadata.get("bounds", {})
    limits = [f"{word} {_number(bound)}" for word, bound in bounds.items() if bound is not None]
    words = " ".join([words, " and ".join(limits)]).strip()

    if is_list(hint):
        instead = metadata["choices"] if takes_words(hint) else ()
        words = " or ".join([*instead, f"a list, each {words}"])
    elif takes_words(hint):
        words = ", ".join([*metadata["choices"], words])
    return f"{words}, or null" if is_optional(hint) else words


def _number(bound: float) -> str:
    """Return a bound in words: 1, 0.0625, 16,384, 1e+38."""
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


_TYPE_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
}


def shapes_of(hint: Any) -> dict[str, type] | None:
    """Return the dataclasses that the `name` of a section selects from; None if it has one shape.

    `A | B` takes the choices of both; a dataclass without a table is chosen by the words that its
    `name` allows (`StoredDatasetConfig` by `checkpoint`).
    """
    members = [kind for kind in typing.get_args(hint) or [hint] if kind is not types.NoneType]
    if len(members) == 1 and table_of(members[0]) is None:
        return None

    shapes: dict[str, type] = {}
    for member in members:
        table = table_of(member)
        if table is not None:
            shapes |= {name: row.config_class for name, row in table.items()}
        else:
            shapes |= dict.fromkeys(_names_of(member), member)
    return shapes


def _names_of(section_class: Any) -> tuple[str, ...]:
    names = (field for field in dataclasses.fields(section_class) if field.name == "name")
    return next(field.metadata["choices"] for field in names)


def _choose(hint: Any, plain: dict[str, Any], where: str) -> Any:
    """Return the dataclass that `name` selects, or the class itself where there is one shape."""
    shapes, name = shapes_of(hint), plain.get("name")
    if shapes is None:
        return element_type(hint)
    if not isinstance(name, str) or name not in shapes:
        raise UsageError(f"{join(where, 'name')} must be one of {', '.join(shapes)}, got {name!r}")
    return shapes[name]


def _unknown(hint: Any, chosen: Any, name: str, where: str) -> UsageError:
    """Return the error for a key that the chosen dataclass lacks: who has it, if anybody does."""
    names = [field.name for field in dataclasses.fields(chosen)]
    known = f"{where or 'the top level'} has: {', '.join(names)}"

    shapes = shapes_of(hint) or {}
    owners = [
        choice
        for choice, shape in shapes.items()
        if name in (field.name for field in dataclasses.fields(shape))
    ]
    if not owners:
        key = join(where, name)
        return UsageError(
            f"'{key}' is not a setting of cnnlab", hint=renamed.hint_for_key(key) or known
        )

    choice = next(choice for choice, shape in shapes.items() if shape is chosen)
    have = "has" if len(owners) == 1 else "have"
    return UsageError(
        f"{where} '{choice}' has no setting '{name}'; {', '.join(sorted(owners))} {have} it",
        hint=known,
    )


def _value(hint: Any, metadata: Any, value: Any, key: str) -> Any:
    if value is None and is_optional(hint):
        return None
    if is_list(hint):
        of_items = metadata
        if takes_words(hint):
            if (word := _only_item(value)) in metadata["choices"]:
                return word
            of_items = {**metadata, "choices": None}
        if not isinstance(value, list):
            raise _wrong(hint, metadata, value, key)
        return [
            _element(element_type(hint), of_items, item, f"{key}[{i}]")
            for i, item in enumerate(value)
        ]
    if dataclasses.is_dataclass(element_type(hint)):
        return _section(hint, value, key)
    if takes_words(hint):
        if isinstance(value, str) and value in metadata["choices"]:
            return value
        if not isinstance(value, element_type(hint)):
            raise _wrong(hint, metadata, value, key)
        return value
    return _scalar(hint, metadata, value, key)


def _element(kind: Any, metadata: Any, value: Any, key: str) -> Any:
    """Return one element of a list; a mapping is completed with nulls, which no YAML file does."""
    if not dataclasses.is_dataclass(kind):
        return _scalar(kind, metadata, value, key)
    if isinstance(value, dict):
        hints = typing.get_type_hints(kind).items()
        value = {name: None for name, hint in hints if is_optional(hint)} | value
    return _section(kind, value, key)


def _only_item(value: Any) -> Any:
    """Return the item of a list of one, as a bare word on the command line arrives, or `value`."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _scalar(hint: Any, metadata: Any, value: Any, key: str) -> Any:
    kind = element_type(hint)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is str and type(value) in (int, float):
        value = str(value)  # a folder called 2012 arrives as a number

    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise _wrong(hint, metadata, value, key)
    if metadata.get("choices") and value not in metadata["choices"]:
        raise _wrong(hint, metadata, value, key)
    for word, bound in metadata.get("bounds", {}).items():
        if bound is not None and not _HOLDS[word](value, bound):
            raise _wrong(hint, metadata, value, key)
    return value


_HOLDS: dict[str, Any] = {
    "at least": lambda value, bound: value >= bound,
    "above": lambda value, bound: value > bound,
    "at most": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}


def _wrong(hint: Any, metadata: Any, value: Any, key: str) -> UsageError:
    wanted = expected(hint, metadata)
    return UsageError(
        f"{key} must be {wanted}, got {value!r}", hint=renamed.hint_for_value(key, value)
    )
