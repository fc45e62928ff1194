"""Stored configs that are older than a setting: it gets the value of what runs did before it.

A setting that is newer than stored configs has that value in its declaration,
`setting(..., earlier=VALUE)`, or a function of the section as it is stored that returns it; so a
model's own key is filled in for that model alone, in checkpoints and run folders alike. A section
is added where all of its settings are newer. Keys with a new name are those of `renamed`.
"""

import dataclasses
import typing
from typing import Any

from cnnlab.config.hints import element_type, is_list
from cnnlab.config.schema import shapes_of


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

    known, hints = dict(plain), typing.get_type_hints(chosen)
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


def _is_younger(section_class: Any) -> bool:
    """Return whether stored configs may lack the whole section: each of its settings is younger."""
    if shapes_of(section_class) is not None:
        return False
    fields = dataclasses.fields(element_type(section_class))
    return all("earlier" in field.metadata for field in fields)


def _shape(section_class: Any, plain: dict[str, Any]) -> Any:
    """Return the dataclass that the section's `name` selects, None where its table lacks it."""
    shapes, name = shapes_of(section_class), plain.get("name")
    if shapes is None:
        return element_type(section_class)
    return shapes.get(name) if isinstance(name, str) else None
