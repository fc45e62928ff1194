"""Suggestions for a mistyped key or name."""

import difflib
from collections.abc import Callable, Sequence

from cnnlab.safe_output import escape_control


def closest(word: str, known: Sequence[str]) -> list[str]:
    """Return up to three names that `word` may mean, the likeliest first; often none.

    Tried in order, the first that finds something wins: same last part (`epochs`), similar as a
    whole (`trainer.epoch`), initials of the last part (`lr`, `bs`, `wd`), similar last part.
    """
    tries: tuple[Callable[[str, Sequence[str]], list[str]], ...] = (
        _same_last_part,
        _similar,
        _same_initials,
        _similar_last_part,
    )
    for attempt in tries:
        if found := attempt(word, known):
            return found[:3]
    return []


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return "did you mean 'a' or 'b'?", or nothing."""
    names = [f"'{escape_control(name)}'" for name in closest(word, known)]
    return f"did you mean {' or '.join(names)}?" if names else ""


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _same_last_part(word: str, known: Sequence[str]) -> list[str]:
    return [name for name in known if _last(name) == _last(word)]


def _similar(word: str, known: Sequence[str]) -> list[str]:
    similar = difflib.get_close_matches(word, known, n=3, cutoff=0.7)
    return [name for name in similar if _resemble(_last(word), _last(name))][:1]


def _resemble(word: str, name: str) -> bool:
    """Return whether two last parts are similar: a shared section alone does not count."""
    return difflib.SequenceMatcher(None, word, name).ratio() >= 0.5


def _same_initials(word: str, known: Sequence[str]) -> list[str]:
    return [name for name in known if _initials(_last(name)) == _last(word)]


def _initials(name: str) -> str:
    parts = name.split("_")
    return "".join(part[:1] for part in parts) if len(parts) > 1 else ""


def _similar_last_part(word: str, known: Sequence[str]) -> list[str]:
    lasts = list(dict.fromkeys(_last(name) for name in known))
    similar = difflib.get_close_matches(_last(word), lasts, n=1, cutoff=0.6)
    return [name for name in known if _last(name) in similar]
