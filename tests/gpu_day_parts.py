"""Sections for tests/test_gpu_day.py: each is run in a process of its own."""

import os
import signal
import subprocess
import sys
import time

from scripts.gpu_day.part import NO_DEVICE
from scripts.gpu_day.task import Task


def succeed(task: Task) -> None:
    task.note("one row", figure=1)
    task.has_time(10**9, "a long case")


def hang(task: Task) -> None:
    time.sleep(600)


def die(task: Task) -> None:
    """End as a crash in native code does, in the middle of a row; a child would go on."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    task.note(child=child.pid)
    with open(task._rows, "a") as file:
        file.write('{"figure": 2')
    os.kill(os.getpid(), signal.SIGKILL)


def fail(task: Task) -> None:
    task.check("two is three", False, left=2, right=3)


def find_no_device(task: Task) -> int:
    print("cnnlab: no device; nothing was checked")
    return NO_DEVICE
