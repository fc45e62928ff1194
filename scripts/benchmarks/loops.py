"""Busy loops: programs that take a processor each, as a build beside a training does."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

FOREVER = [sys.executable, "-S", "-c", "while True: pass"]


@contextlib.contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Run `number` endless loops, each a process of its own, beside the block."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            loop = stack.enter_context(subprocess.Popen(FOREVER))
            stack.callback(loop.kill)
        yield
