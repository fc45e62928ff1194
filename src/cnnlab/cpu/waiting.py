"""How threads wait for one another: set for the command, before torch loads its OpenMP library.

By themselves these libraries let a thread that waits spin: for some milliseconds (GNU's) or 200
(LLVM's and Intel's). On an idle machine that saves waking it up. Beside another program the thread
that spins holds the processor that the one it waits for needs, and training becomes up to twenty
times slower. Each library reads variables of its own, once, when it is loaded; so all are set, and
whichever torch came with finds its own. Imports no torch.
"""

import sys
from collections.abc import MutableMapping, Sequence

SHARED = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
"""The variables of the command: a thread looks a thousand times, or for a millisecond, then sleeps.

Chosen by scripts/benchmarks/busy.py, whose table is in docs/performance.md: the worst cases of 100
and 1,000 looks are close to one another (0.67 and 0.60, in a second run 0.66 and 0.66), and 1,000
is the faster on an idle machine. KMP_BLOCKTIME: milliseconds, not measured.
Source: the manual of GNU libgomp, GOMP_SPINCOUNT.
"""

OF_THE_USER = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "KMP_LIBRARY",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)
"""Whoever has set one of these has chosen himself."""

NUM_THREADS = "runtime.num_threads="


def prepare(words: Sequence[str], environment: MutableMapping[str, str]) -> dict[str, str]:
    """Set the variables of `SHARED` for this process and those it starts; return what was set.

    words: of the command line. Whoever names the number of threads there gets them as torch has
    them, at their fastest on an idle machine; whoever has set variables of OpenMP is left alone.
    After torch is loaded it would be too late.
    """
    is_named = any(_names_threads(word) for word in words)
    if is_named or "torch" in sys.modules or any(name in environment for name in OF_THE_USER):
        return {}
    environment.update(SHARED)
    return dict(SHARED)


def _names_threads(word: str) -> bool:
    return word.lstrip("+").startswith(NUM_THREADS) and word.partition("=")[2] != "null"
