"""Keys and values that had another name in earlier versions of cnnlab.

Stored configs (config.yaml of a run, the config in a checkpoint) are read under the names of today.
An old name that is typed, or used in a YAML file of your own, is refused with the new one.
"""

from typing import Any

KEYS = {
    "augment.colour_divides": "augment.color_divides",
    "augment.colour_scale": "augment.color_scale",
    "augment.colour_strength": "augment.color_strength",
    "runtime.lrn_kernel": "runtime.kernels",
}
"""Old dotted key -> the key of today."""

VALUES = {
    "what": {"neighbours": "neighbors"},
    "weights": {"ema": "which_weights=ema", "raw": "which_weights=raw"},  # tried, never so named
}
"""Key -> old value -> the value of today, or what to write; of settings that no run stores."""


def current(stored: Any) -> Any:
    """Return a stored config with the keys of today; what is no mapping comes back unchanged."""
    if not isinstance(stored, dict):
        return stored

    renamed = dict(stored)
    for old, new in KEYS.items():
        section, _, name = old.rpartition(".")
        held = renamed.get(section)
        if isinstance(held, dict) and name in held:
            own = {new.rpartition(".")[2] if key == name else key: held[key] for key in held}
            renamed[section] = own
    return renamed


def hint_for_key(key: str) -> str:
    """Return what to write in place of an old key, as the last line of a message; else ""."""
    return _did_you_mean(KEYS.get(key))


def hint_for_value(key: str, value: Any) -> str:
    """Return what to write in place of an old value, as the last line of a message; else "".

    key: of one element of a list too, `what[0]`.
    """
    renamed = VALUES.get(key.partition("[")[0], {})
    return _did_you_mean(renamed.get(value) if isinstance(value, str) else None)


def _did_you_mean(name: str | None) -> str:
    return f"did you mean '{name}'?" if name else ""
