"""How many threads torch computes with: as many as the work of one pass feeds, and the reason.

A rule by size and never by the clock, so that the same machine computes the same bits. A small
network's operations take some microseconds each: a second thread wins 1.3x on them while nothing
else runs, and loses 3x to 20x as soon as one program runs beside it, since all threads wait for
the one that is not scheduled (docs/performance.md). Imports no torch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from cnnlab.cpu.processors import Budget

MULTIPLY_ADDS_PER_THREAD = 100_000_000
"""Of the forward pass of one batch, or of one part of it: less does not feed another thread.

LeNet-5 has 27 million at a batch of 64 and 107 at 256, AlexNet of a quarter of its width 260 at 64
pixels and a batch of 64. Source: scripts/benchmarks/busy.py, in docs/performance.md.
"""

OPENMP_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables with which the user sets the count of every program; torch reads them itself."""


@dataclass(frozen=True)
class Threads:
    """How many threads compute, and why so many, in a few words.

    fixed: somebody asked for this number.
    """

    number: int
    reason: str
    fixed: bool = False


def choose(
    asked: int | None,
    budget: Budget,
    *,
    of_torch: int,
    multiply_adds: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Threads:
    """Return how many threads a process computes with.

    asked: `runtime.num_threads`. of_torch: what torch would take by itself. multiply_adds: of the
    forward pass of one batch; None: not known, or on a GPU.
    """
    if asked is not None:
        return Threads(asked, "runtime.num_threads", fixed=True)
    if named := next((name for name in OPENMP_COUNTS if environment.get(name)), None):
        return Threads(of_torch, f"{named} in the environment", fixed=True)

    fed = budget.cores if multiply_adds is None else multiply_adds // MULTIPLY_ADDS_PER_THREAD
    if max(1, fed) < budget.cores:
        million = f"{(multiply_adds or 0) / 1e6:,.0f} million multiply-adds"
        return Threads(max(1, fed), f"a pass of {million} feeds no more of {budget.cores} cores")
    limited = f", limited by {budget.limit}" if budget.limit else ""
    return Threads(budget.cores, f"one for each core{limited}")


def as_before(now: Threads, recorded: object, budget: Budget) -> Threads:
    """Return the threads of a run that continues: those of its checkpoint, where there are so many.

    With another number it would continue, but not bit for bit. recorded: what the checkpoint says,
    which is not trusted; a number that somebody asked for stays.
    """
    if now.fixed or recorded == now.number:
        return now
    if not isinstance(recorded, int) or not 1 <= recorded <= budget.processors:
        return now
    return Threads(recorded, "as before, since another number would change the bits")
