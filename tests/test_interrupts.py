"""Signals set a flag and nothing else; a second Ctrl-C leaves at once."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

from cnnlab import interrupts

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
WAITING = """
import time
from cnnlab import interrupts
with interrupts.watching():
    print("ready", flush=True)
    while interrupts.requested() is None:
        time.sleep(0.01)
    print("noted", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize(("number", "code"), [*zip(SIGNALS, [130, 143, 143], strict=True)])
def test_a_signal_sets_the_flag_and_nothing_else(number: int, code: int) -> None:
    with interrupts.watching():
        assert interrupts.requested() is None
        os.kill(os.getpid(), number)
        assert interrupts.requested() == number
        assert interrupts.exit_code(number) == code
    assert interrupts.requested() is None


def test_the_first_signal_is_the_one_that_counts() -> None:
    with interrupts.watching():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert interrupts.requested() == signal.SIGTERM


def test_the_old_handlers_come_back_also_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), interrupts.watching():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_block_within_a_block_keeps_the_request() -> None:
    with interrupts.watching():
        with interrupts.watching():
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.requested() == signal.SIGTERM


def test_other_threads_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with interrupts.watching():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("first", SIGNALS)
def test_ctrl_c_behind_another_request_leaves_at_once(first: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(first)
        assert process.stdout.readline() == "noted\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_leaving_at_once_gives_the_terminal_its_cursor_back() -> None:
    main, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=terminal) as process:
        os.close(terminal)
        seen = b""
        while b"ready" not in seen:
            seen += os.read(main, 100)
        while process.poll() is None:  # two signals sent together may arrive as one: insist
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        seen = os.read(main, 100)
    assert interrupts.SHOW_CURSOR.split(b"\r")[0] in seen
    os.close(main)
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_before_there_is_anything_to_save_a_request_ends_with_143(number: int) -> None:
    code = (
        "import os, time; from cnnlab import interrupts; interrupts.leave_on_termination();"
        f"os.kill(os.getpid(), {number}); time.sleep(5)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 143
