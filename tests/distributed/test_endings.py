"""A process at its end, while the store that the processes talk through answers late."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from cnnlab.distributed.failure_detector import DEAD_AFTER_SECONDS
from tests.distributed.launching import environment

LAUNCHER = """
import sys
from torch.distributed import TCPStore
store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
print(store.port, flush=True)
sys.stdin.readline()
"""
WORKER = """
import sys, time, torch
from cnnlab.distributed import joined

class Last:
    def __del__(self):  # Python finalizes by now; other threads may return from native code
        time.sleep(2)

last = Last()
with joined(torch.device("cpu"), timeout_seconds=60):
    print("inside", flush=True)
    sys.stdin.readline()
    if sys.argv[1] == "fail":
        raise ValueError("a failure on purpose")
"""


def start(program: str, *words: str, **variables: str) -> subprocess.Popen[str]:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", program, *words]
    return subprocess.Popen(command, env=environment(**variables), text=True, **pipes)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextlib.contextmanager
def launcher() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give a process that holds a store, and its port."""
    process = start(LAUNCHER)
    try:
        yield process, line_of(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_an_answer_of_the_launcher_that_comes_late_does_not_abort_a_process_at_its_end() -> None:
    with launcher() as (holder, port):
        joining = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": "0", "WORLD_SIZE": "1"}
        joining |= {"LOCAL_RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        ways = ("succeed", "fail")
        workers = [start(WORKER, way, **joining, TORCHELASTIC_RESTART_COUNT=way) for way in ways]
        assert [line_of(worker) for worker in workers] == ["inside", "inside"]

        holder.send_signal(signal.SIGSTOP)
        time.sleep(1)  # more than a beat: both detectors wait for an answer
        for worker in workers:
            assert worker.stdin is not None
            print("leave", file=worker.stdin, flush=True)
        time.sleep(1)  # a process that does not wait for its detector finalizes by now
        holder.send_signal(signal.SIGCONT)
        errors = [worker.communicate()[1] for worker in workers]

    assert "terminate called" not in "".join(errors)
    assert [worker.returncode for worker in workers] == [0, 1], errors
    assert "a failure on purpose" in errors[1]


@pytest.mark.slow
def test_a_launcher_that_stood_still_costs_no_healthy_process() -> None:
    """Ctrl-Z on torchrun stops it alone; nobody could beat meanwhile, so nobody was silent."""
    with launcher() as (holder, port):
        joining = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
        joining |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
        ranks = ({"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1"))
        workers = [start(WORKER, "succeed", **joining, **rank) for rank in ranks]
        assert [line_of(worker) for worker in workers] == ["inside", "inside"]

        time.sleep(2)  # some beats
        holder.send_signal(signal.SIGSTOP)
        time.sleep(DEAD_AFTER_SECONDS + 1)
        holder.send_signal(signal.SIGCONT)
        time.sleep(3)
        for worker in workers:
            if worker.poll() is None:
                print("leave", file=worker.stdin, flush=True)
        errors = [worker.communicate()[1] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0], errors
