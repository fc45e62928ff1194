"""Every number that can be set has an upper bound, and the message says it."""

import dataclasses
import importlib
import math
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import cnnlab.config
from cnnlab.config.bounds import MOST_FLOAT32, MOST_SEED
from cnnlab.config.hints import element_type, is_list
from cnnlab.config.schema import expected
from scripts.torture.command import call

UNBOUNDED: dict[str, str] = {}
"""Class and setting -> why it has no upper bound."""


def numbers() -> Iterator[tuple[str, Any, Any]]:
    """Yield (Class.name, type hint, field) of every setting that is a number."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(cnnlab.config.__path__, "cnnlab.config.")
    ]
    classes = {kind for module in modules for kind in vars(module).values() if _is_ours(kind)}
    for kind in sorted(classes, key=lambda kind: kind.__qualname__):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            is_setting = "bounds" in field.metadata
            if is_setting and element_type(hints[field.name]) in (int, float):
                yield f"{kind.__name__}.{field.name}", hints[field.name], field


def _is_ours(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def test_every_number_has_an_upper_bound_or_a_reason() -> None:
    without = set()
    for name, _, field in numbers():
        bounds = field.metadata["bounds"]
        highest = [bounds[word] for word in ("at most", "below") if bounds[word] is not None]
        if not highest or not math.isfinite(max(highest)):
            without.add(name)
    assert without == UNBOUNDED.keys()


def test_every_bound_is_said_in_the_help_and_can_be_reached() -> None:
    found = list(numbers())
    assert len(found) > 80
    for name, hint, field in found:
        bounds = field.metadata["bounds"]
        words = expected(hint, field.metadata)
        assert ("at most" in words) or ("below" in words), name
        assert is_list(hint) == ("a list, each" in words)
        low = bounds["at least"] if bounds["at least"] is not None else bounds["above"]
        high = bounds["at most"] if bounds["at most"] is not None else bounds["below"]
        assert low < high, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runtime.num_threads=1000000000", "runtime.num_threads must be an integer at least 1 and"),
        ("ensemble.members=1000000000", "at most 10,000"),
        ("trainer.epochs=100000000000000000000", "at most 1,000,000,000"),
        (f"seed={MOST_SEED + 1}", "at most 18,446,744,073,709,551,615"),
        ("optimizer.learning_rate=1e39", "at most 1e+38"),
        ("dataset.image_size_pixels=1000000000", "at most 16,384"),
    ],
)
def test_a_number_that_no_machine_can_take_is_refused_with_its_bound(words: str, said: str) -> None:
    outcome = call("train", words)
    assert outcome.code == 2
    assert said in outcome.errors
    assert outcome.is_clean


def test_a_number_in_float32_may_be_as_large_as_float32_has_them() -> None:
    import numpy as np

    assert MOST_FLOAT32 <= float(np.finfo(np.float32).max) < 10 * MOST_FLOAT32
