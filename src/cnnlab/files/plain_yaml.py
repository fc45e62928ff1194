"""YAML as plain data: no tags, no aliases, no interpolations, a bounded size."""

import errno
import math
from pathlib import Path
from typing import Any

import yaml

from cnnlab.errors import UsageError
from cnnlab.files import regular
from cnnlab.safe_output import escape_control

MAX_BYTES = 1 << 20
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""Errors of a path that leads to no file; of others, such as a failing disk, the user is told."""


class _NoAliases(yaml.SafeLoader):
    """The safe loader without aliases: a few hundred bytes of them can name a billion items."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are refused", event.start_mark)
        return super().compose_node(parent, index)


def dump_plain(plain: dict[str, Any]) -> bytes:
    """Return dicts, lists, strings, numbers, booleans and None as YAML in their own order."""
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode()


def load_plain(path: Path, *, hint: str = "") -> dict[str, Any]:
    """Return the mapping a YAML file holds.

    Raises UsageError when it is missing or not a plain mapping, CheckpointError when it is too
    long, a link, a pipe or the like; OSError where the system does not let it be read.
    """
    where = escape_control(str(path))
    try:
        data = regular.read(path, MAX_BYTES)
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        raise UsageError(f"cannot read the config: {error.strerror}", where, hint) from error

    try:
        plain = _NoAliases(data).get_single_data()
        _check_plain(plain)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = escape_control(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UsageError("the config is not plain YAML", where, reason) from error
    if not isinstance(plain, dict):
        raise UsageError("the config is not a mapping", where, hint)
    return plain


def _check_plain(value: Any) -> None:
    """Raise ValueError for what YAML has and JSON has not: dates, bytes, sets, NaN, other keys."""
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"the key {key!r} is not a text")
            _check_plain(item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item)
    elif value is not None and type(value) not in (str, int, float, bool):
        raise ValueError(f"a {type(value).__name__} is no setting")
    elif type(value) is float and not math.isfinite(value):
        raise ValueError(f"{value} is no setting")
