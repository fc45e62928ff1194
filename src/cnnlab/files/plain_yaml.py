"""YAML as plain data: no tags, no aliases, no interpolations, a bounded size."""

from pathlib import Path
from typing import Any

import yaml

from cnnlab.errors import UsageError
from cnnlab.safe_output import escape_control

MAX_BYTES = 1 << 20


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

    Raises UsageError when it is missing, too long, or not a plain mapping.
    """
    where = escape_control(str(path))
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the config: {error.strerror}", where, hint) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"the config is longer than {MAX_BYTES:,} bytes", where)

    try:
        loader = _NoAliases(data)
        plain = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = escape_control(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UsageError("the config is not plain YAML", where, reason) from error
    if not isinstance(plain, dict):
        raise UsageError("the config is not a mapping", where, hint)
    return plain
