"""What may differ between a run as it was and the command that continues it.

A run is continued with the settings it was started with. The safe ones may change, each of the
others only when named in `allow_changes`; another model is another run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cnnlab.errors import UsageError
from cnnlab.safe_output import escape_control

SAFE = (
    "saving",
    "logging",
    "writer",
    "evaluation",
    "plugins",
    "dataset.root",
    "dataset.download",
    "dataset.residency",
    "dataset.num_decode_threads",
    "dataset.num_readers",
    "runtime.device",
    "runtime.num_threads",
    "runtime.profile",
    "trainer.log_every_steps",
)
"""Sections and settings that change neither the images nor the updates."""

REFUSED = ("model",)
_ABSENT = "(absent)"
_NUM_SHOWN = 8


@dataclass(frozen=True)
class Change:
    """A setting that differs between the run as it was and the command that continues it."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return escape_control(f"{self.key} {self.old} -> {self.new}")

    def within(self, keys: Iterable[str]) -> bool:
        """Return whether the key or its section is among `keys`."""
        return any(self.key == key or self.key.startswith(f"{key}.") for key in keys)

    @property
    def is_safe(self) -> bool:
        """Return whether it needs no permission: safe settings, and more epochs.

        A finished run is continued for more epochs; fewer would cut a schedule short.
        """
        if self.key == "trainer.epochs" and isinstance(self.old, int):
            return bool(self.new > self.old)
        return self.within(SAFE)


def changes_between(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[Change]:
    """Return the differences of two configs, key by key, in the new one's order."""
    found = []
    for name in [*new, *(name for name in old if name not in new)]:
        key = f"{where}.{name}" if where else name
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes_between(before, after, key)
        elif before != after:
            found.append(Change(key, before, after))
    return found


def check_changes(changes: list[Change], allowed: list[str]) -> None:
    """Raise UsageError unless every change is safe or its key (or section) is in `allowed`."""
    refused = [change for change in changes if change.within(REFUSED)]
    if refused:
        raise UsageError("a resumed run keeps its model", _listed(refused), "start a new run")

    unnamed = [change for change in changes if not (change.is_safe or change.within(allowed))]
    if unnamed:
        keys = ",".join([*allowed, *(change.key for change in unnamed)])
        raise UsageError(
            "these settings differ from the run's and change its result",
            _listed(unnamed),
            f"to allow it: allow_changes=[{escape_control(keys)}]",
        )


def _listed(changes: list[Change]) -> str:
    shown = "; ".join(str(change) for change in changes[:_NUM_SHOWN])
    more = len(changes) - _NUM_SHOWN
    return shown + (f"; and {more} more" if more > 0 else "")
