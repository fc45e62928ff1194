"""Values as Hydra's override grammar writes them: a string in quotes, and what Python has."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS_WITH_A_MEANING = ("null", "true", "false", "nan", "inf")


def literal(text: str) -> str:
    """Quote a string for Hydra, which takes every character in it as it is.

    Backslashes escape quotes alone, and one another only in front of a quote.
    """
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def unquoted(text: str) -> str:
    """Return a text without the pair of quotes around it, if there is one."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] in ("'", '"') else text


def words_of(words: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return key=value words and settings by key as the words of one command line.

    Raises UsageError for a word that is no text, and for a value that no setting can have.
    """
    for word in words:
        if not isinstance(word, str):
            raise UsageError(
                f"a word must be a text such as 'model=lenet5', got {word!r}",
                hint="settings by name: seed=1, or **{'trainer.epochs': 3}",
            )
    return [*words, *(_word(key, value) for key, value in settings.items())]


def _word(key: str, value: Any) -> str:
    if key.startswith("hydra.") and isinstance(value, str | os.PathLike):
        return f"{key}='{os.fsdecode(value)}'"  # a folder, which is no value of the grammar
    return f"{key}={value_of(value, key)}"


def value_of(value: Any, key: str) -> str:
    """Return a value of Python, or of NumPy and torch, as a word has it after `=`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))  # NumPy's are floats that write themselves in another way
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_WITH_A_MEANING
        return value if is_plain else literal(value)

    if isinstance(value, os.PathLike):
        return literal(os.fsdecode(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{value_of(v, key)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(value_of(item, key) for item in value) + "]"
    if callable(item := getattr(value, "item", None)):  # a number of NumPy, a tensor of one
        return value_of(item(), key)
    raise UsageError(f"{key} cannot be a {type(value).__name__}: {value!r}")
