"""Stored configs that are older than a setting: it gets the value of what runs did before it.

A setting that is newer than stored configs has that value in its declaration,
`setting(..., earlier=VALUE)`, or a function of the section as it is stored that returns it; so a
model's own key is filled in for that model alone, in checkpoints and run folders alike. A section
is added where all of its settings are newer; a group, where its `name` is. Keys with a new name are
those of `renamed`. A setting that somebody's own choice got later has its default.
"""

import dataclasses
import typing
from typing import Any

from cnnlab.config.hints import element_type, is_list
from cnnlab.config.schema import shapes_of
from cnnlab.config.tables import table_of


def completed(section_class: Any, plain: Any) -> Any:
    """Return a stored section, or a whole config, with the keys that are newer than it.

    Keys that it has keep their values. What is no mapping, or a choice that its table lacks, is
    returned unchanged: `parse` reports it.
    """
    if not isinstance(plain, dict):
        return plain
    chosen = _shape(section_class, plain)
    if chosen is None:
        return plain

    known, hints = {**_own_defaults(section_class, plain), **plain}, typing.get_type_hints(chosen)
    for field in dataclasses.fields(chosen):
        section = field.metadata.get("within", field.name)
        hint = hints[field.name]
        if dataclasses.is_dataclass(element_type(hint)) and not is_list(hint):
            if section in known or (section == field.name and _is_younger(hint)):
                known[section] = completed(hint, known.get(section, {}))
        elif "earlier" in field.metadata:
            earlier = field.metadata["earlier"]
            known.setdefault(field.name, earlier(plain) if callable(earlier) else earlier)
    return known


def _own_defaults(section_class: Any, plain: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults that an own choice was registered with."""
    table = table_of(element_type(section_class))
    if table is None:
        return {}
    own = table.own.get(str(plain.get("name")), {})
    return {key: value for key, value in own.items() if key != "recipe"}


def _is_younger(section_class: Any) -> bool:
    """Return whether stored configs may lack the whole section: each of its settings is younger."""
    shape = _shape(section_class, {})
    return shape is not None and all("earlier" in f.metadata for f in dataclasses.fields(shape))


def _shape(section_class: Any, plain: dict[str, Any]) -> Any:
    """Return the dataclass that the section's `name` selects, None where its table lacks it."""
    shapes = shapes_of(section_class)
    if shapes is None:
        return element_type(section_class)
    name = plain.get("name", _earlier_name(section_class))
    return shapes.get(name) if isinstance(name, str) else None


def _earlier_name(section_class: Any) -> Any:
    """Return the choice that runs had before there was the group; None: it was always there."""
    fields = dataclasses.fields(element_type(section_class))
    return next((f.metadata.get("earlier") for f in fields if f.name == "name"), None)
