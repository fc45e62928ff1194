"""One evaluation by several processes: each scores its share of the images; counts add up."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence

from cnnlab import interrupts
from cnnlab.distributed import Peers
from cnnlab.evaluation.ensemble import MemberCounts
from cnnlab.evaluation.evaluate import EvaluationStopped
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss

STOPPED = "stopped"


def judged(peers: Peers, num_batches: int, judge: Callable[[], Tally]) -> Tally:
    """Return the sum of what all processes count, each in its share of the images.

    judge: counts this process's share, of num_batches. Raises EvaluationStopped in all processes
    when one of them was asked to stop.
    """
    own: Tally | str | None = None
    try:
        if num_batches or peers.size == 1:
            own = judge()
    except EvaluationStopped:
        own = STOPPED
    found = peers.gather(own)
    if STOPPED in [one for one in found if isinstance(one, str)]:
        raise EvaluationStopped
    first, *others = [one for one in found if isinstance(one, Tally)]
    return sum(others, start=first)


def asked_to_stop(peers: Peers) -> Callable[[], int | None]:
    """Return what says between batches whether to stop, and that this process still works."""

    def ask() -> int | None:
        peers.note_progress()
        return interrupts.requested()

    return ask


def worst_of_all(peers: Peers, misses: Sequence[Miss], num_images: int, number: int) -> list[Miss]:
    """Return the worst misses of all processes; each counted its images from 0."""
    first = peers.share.slice_of(num_images).first
    own = [dataclasses.replace(miss, index=miss.index + first) for miss in misses]
    found = [miss for part in peers.gather(own) for miss in part]
    return sorted(found, key=lambda miss: (-miss.confidence, miss.index))[:number]


def counts_of_all(peers: Peers, counts: MemberCounts | None) -> MemberCounts | None:
    """Return what all processes counted of the members, in order; shares are contiguous."""
    found = [part for part in peers.gather(counts) if part is not None]
    return functools.reduce(operator.add, found) if found else None
