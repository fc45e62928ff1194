"""Match the classes of checkpoints and data by name."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab.errors import DataError

SHOWN = 5
"""The most names listed of each difference."""


def match_classes(
    own: Sequence[str], wanted: Sequence[str], own_name: str, wanted_name: str
) -> Tensor | None:
    """Return for each wanted class its column among `own`: int64 [K]; None for equal orders.

    Raises DataError with both differences where the names are not the same set.
    """
    if tuple(own) == tuple(wanted):
        return None

    column = {name: i for i, name in enumerate(own)}
    if set(own) != set(wanted) or len(column) != len(own):
        raise DataError(
            f"the classes of {own_name} ({len(own)}) and {wanted_name} ({len(wanted)}) differ",
            where=f"only {own_name}: {difference(own, wanted)}",
            hint=f"only {wanted_name}: {difference(wanted, own)}",
        )
    return torch.tensor([column[name] for name in wanted])


def difference(names: Sequence[str], others: Sequence[str]) -> str:
    """Return the first names that are not among `others`, quoted, or 'none'."""
    known = set(others)
    extra = [name for name in names if name not in known]
    more = f" and {len(extra) - SHOWN} more" if len(extra) > SHOWN else ""
    return ", ".join(repr(name) for name in extra[:SHOWN]) + more or "none"
