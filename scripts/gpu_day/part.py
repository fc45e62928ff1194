"""One section in a process of its own: python -m scripts.gpu_day.part WORK, then options."""

import argparse
import importlib
import sys
import time
from pathlib import Path

from scripts.gpu_day.task import Task

NO_DEVICE = 6
"""The exit code where nothing can be checked: no device, or a Python that lacks something."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", help="module:function")
    parser.add_argument("--device", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()

    ends = time.monotonic() + given.seconds
    task = Task(given.device, given.folder, ends, given.rows)
    module, _, function = given.work.partition(":")
    try:
        work = getattr(importlib.import_module(module), function)
    except ImportError as error:
        reason = error.name or str(error).splitlines()[0]
        print(f"cnnlab: {sys.executable} cannot import {reason}; PYTHON=... names another Python")
        return NO_DEVICE
    answer = work(task)
    return answer if isinstance(answer, int) else 1 if task.num_failures else 0


if __name__ == "__main__":
    sys.exit(main())
