"""Give a converted file its name only after it was read back."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def renamed_when_checked(output: Path) -> Iterator[Path]:
    """Yield a path to write and to check; if the block succeeds, it is renamed to `output`."""
    partial = output.with_name(f".partial-{os.getpid()}-{output.name}")
    try:
        yield partial
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
