"""A config that notes which of its settings are read, and by whom it does not count."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

UNCOUNTED = ("dataclasses.py", "schema.py", "checks.py", "<string>")
"""Files whose reading is no effect: copying, writing into config.yaml, checking, comparing."""


def record(config: Any, read: set[str], where: str = "") -> Any:
    """Let the settings of a config, and of its sections, note in `read` that they were read."""
    for field in dataclasses.fields(config):
        section = getattr(config, field.name)
        if dataclasses.is_dataclass(section):
            record(section, read, _key(where, field))
    config.__class__ = _recording(type(config), read, where)
    return config


def keys_of(config: Any, where: str = "") -> set[str]:
    """Return the dotted keys of a config, as the command line writes them."""
    found = set()
    for field in dataclasses.fields(config):
        section = getattr(config, field.name)
        key = _key(where, field)
        found |= keys_of(section, key) if dataclasses.is_dataclass(section) else {key}
    return found


def _key(where: str, field: dataclasses.Field) -> str:
    name = field.metadata.get("within", field.name)
    return f"{where}.{name}" if where else name


def _recording(shape: type, read: set[str], where: str) -> type:
    keys = {field.name: _key(where, field) for field in dataclasses.fields(shape)}

    def look(self: Any, name: str) -> Any:
        reader = Path(sys._getframe(1).f_code.co_filename).name
        if name in keys and reader not in UNCOUNTED:
            read.add(keys[name])
        return object.__getattribute__(self, name)

    return type(shape.__name__, (shape,), {"__getattribute__": look})
