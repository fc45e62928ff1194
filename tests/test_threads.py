"""Threads end before Python does, and all of them are started in one place."""

import subprocess
import sys
import threading

import pytest

from cnnlab.threads import BackgroundThread
from tests.sources import SOURCE, nodes_of, trees

STARTERS = {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread", "ThreadPool"}
ALLOWED = {
    "threads.py": "BackgroundThread joins its thread; the timer waits on a lock of Python's own",
    "data/workers.py": "Python joins the threads of a ThreadPoolExecutor before it ends",
    "data/readers.py": "the same, and they are shut down when their stream ends",
}
"""Where a thread is started, and how it ends."""

LEFT_ALONE = """
import sys, threading
from cnnlab.threads import BackgroundThread

stopped = threading.Event()
def work():
    stopped.wait()
    print("ended", flush=True)
BackgroundThread(work, "work", stopped.set)
print("leaving", flush=True)
"""


def test_threads_are_started_where_their_end_is_known() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in trees()
        for node in nodes_of(path)
        if getattr(node, "id", getattr(node, "attr", None)) in STARTERS
    }

    assert found == set(ALLOWED)


def test_a_thread_that_nobody_ended_is_joined_at_exit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_ALONE], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["leaving", "ended"]
    assert done.stderr == ""


def test_the_end_waits_until_the_work_has_stopped() -> None:
    stop = threading.Event()
    steps: list[str] = []

    def work() -> None:
        stop.wait()
        steps.append("stopped")

    beside = BackgroundThread(work, "work", stop.set)
    assert beside.is_alive
    beside.end()

    assert steps == ["stopped"]
    assert not beside.is_alive
    beside.end()  # once more does nothing


def test_work_that_is_stuck_is_waited_for_with_patience_only() -> None:
    release = threading.Event()

    def work() -> None:
        release.wait()

    beside = BackgroundThread(work, "work", lambda: None, patience_seconds=0.01)
    beside.end()
    assert beside.is_alive

    release.set()
    while beside.is_alive:  # this one hears nothing else
        beside.end()


def test_a_thread_that_cannot_start_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stops: list[int] = []
    with pytest.raises(RuntimeError, match="can't start new thread"):
        BackgroundThread(lambda: None, "work", lambda: stops.append(1))
    assert stops == [1]
