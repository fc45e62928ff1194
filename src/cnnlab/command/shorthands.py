"""Words that some commands take without a key, spelled out as key=value."""

from collections.abc import Callable

from cnnlab.command.quoting import quote

Shorthand = Callable[[list[str]], list[str]]
"""Words as typed -> words that are all key=value, or are mistakes."""


def of_list(words: list[str]) -> list[str]:
    """Spell out `cnnlab list models`."""
    return [f"what={words[0]}", *words[1:]] if words and "=" not in words[0] else words


def of_copy(words: list[str]) -> list[str]:
    """Spell out `cnnlab copy experiment=quickstart mine.yaml`."""
    spelled, rest = [], list(words)
    if rest and rest[0].partition("=")[0] not in ("choice", "output") and "=" in rest[0].strip("="):
        spelled.append(f"choice={quote(rest.pop(0))}")
    if rest and "=" not in rest[0]:
        spelled.append(f"output={rest.pop(0)}")
    return [*spelled, *rest]
