"""Stored configs that are older than a setting: it gets the value of what runs did before it.

A setting that is newer than stored configs has that value in its declaration,
`setting(..., earlier=VALUE)`; so a model's own key is filled in for that model alone, in
checkpoints and run folders alike. Keys with a new name are those of `renamed`.
"""

import dataclasses
import typing
from typing import Any

from cnnlab.config.schema import Variants, element_type


def completed(section_class: type, plain: Any, variants: Variants) -> Any:
    """Return a stored section, or a whole config, with the keys that are newer than it.

    Keys that it has keep their values. What is no mapping, or a choice that its table lacks, is
    returned unchanged: `parse` reports it.
    """
    if not isinstance(plain, dict):
        return plain
    chosen = _shape(section_class, plain, variants)
    if chosen is None:
        return plain

    known, hints = dict(plain), typing.get_type_hints(chosen)
    for field in dataclasses.fields(chosen):
        section = field.metadata.get("within", field.name)
        kind = element_type(hints[field.name])
        if dataclasses.is_dataclass(kind) and section in known:
            known[section] = completed(typing.cast(type, kind), known[section], variants)
        elif "earlier" in field.metadata:
            known.setdefault(field.name, field.metadata["earlier"])
    return known


def _shape(section_class: type, plain: dict[str, Any], variants: Variants) -> Any:
    """Return the dataclass that the section's `name` selects, None where the table lacks it."""
    if section_class not in variants:
        return section_class
    name = plain.get("name")
    return variants[section_class].get(name) if isinstance(name, str) else None
