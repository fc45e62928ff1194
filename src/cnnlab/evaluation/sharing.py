"""One evaluation by several processes: each counts its share of the images; counts add up."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence

from torch import Tensor

from cnnlab import interrupts
from cnnlab.distributed import Peers
from cnnlab.evaluation.ensemble import MemberCounts
from cnnlab.evaluation.evaluate import EvaluationStopped
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss

STOPPED = "stopped"


def gather_tally(peers: Peers, num_batches: int, count: Callable[[], Tally]) -> Tally:
    """Return the sum of the counts of all processes, each of its share of the images.

    count: counts this process's share, of num_batches. Raises EvaluationStopped in all processes
    when one of them was asked to stop.
    """
    own: Tally | str | None = None
    try:
        if num_batches or peers.size == 1:
            own = count()
    except EvaluationStopped:
        own = STOPPED

    gathered = peers.gather(own)
    if any(isinstance(one, str) for one in gathered):
        raise EvaluationStopped
    first, *others = [one for one in gathered if isinstance(one, Tally)]
    return sum(others, start=first)


def asked_to_stop(peers: Peers) -> Callable[[], int | None]:
    """Return a function for between batches: it reports progress and returns any stop request."""

    def ask() -> int | None:
        peers.note_progress()
        return interrupts.requested()

    return ask


def gather_misses(peers: Peers, misses: Sequence[Miss], num_images: int, number: int) -> list[Miss]:
    """Return the worst misses of all processes; each counted its images from 0."""
    first = peers.share.slice_of(num_images).first
    own = [dataclasses.replace(miss, index=miss.index + first) for miss in misses]
    gathered = [miss for part in peers.gather(own) for miss in part]
    return sorted(gathered, key=lambda miss: (-miss.confidence, miss.index))[:number]


def gather_counts(peers: Peers, counts: MemberCounts | None) -> MemberCounts | None:
    """Return the members' counts of all processes, in the images' order; shares are contiguous."""
    gathered = [part for part in peers.gather(counts) if part is not None]
    return functools.reduce(operator.add, gathered) if gathered else None


def gather_sum(peers: Peers, counts: Tensor | None) -> Tensor | None:
    """Return the sum of the counts of all processes, on the CPU; None where none has any."""
    gathered = peers.gather(None if counts is None else counts.cpu())
    found: list[Tensor] = [one for one in gathered if one is not None]
    return functools.reduce(operator.add, found) if found else None
