"""Signals set a flag, and in a wait end it; a second Ctrl-C leaves at once."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnlab import interrupts
from cnnlab.cli import main
from cnnlab.data.build_lock import building
from cnnlab.errors import Interrupted
from cnnlab.starting import ENDING

SIGNALS = [signal.Signals(number) for number in ENDING]
CODES = {"HUP": 129, "INT": 130, "QUIT": 131, "USR2": 140, "TERM": 143, "USR1": 143, "XCPU": 152}
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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_flag_and_nothing_else(number: int) -> None:
    with interrupts.watching():
        assert interrupts.requested() is None
        os.kill(os.getpid(), number)
        assert interrupts.requested() == number
    assert interrupts.requested() is None


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_signal_has_its_exit_code(name: str, code: int) -> None:
    assert interrupts.exit_code(signal.Signals[f"SIG{name}"]) == code


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number: int) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interrupts.watching():
            os.kill(os.getpid(), number)
            assert interrupts.requested() is None
            assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_wait_ends_with_the_request(number: int) -> None:
    @interrupts.at_once()
    def wait() -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    with interrupts.watching(), pytest.raises(Interrupted) as ended:
        wait()
    assert ended.value.exit_code == ENDING[number]


def test_a_wait_that_begins_after_the_request_ends_at_once() -> None:
    with interrupts.watching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), interrupts.at_once():
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGTERM)  # the wait is over: a flag again
        assert interrupts.requested() == signal.SIGTERM


def test_one_of_several_processes_waits_until_all_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with interrupts.watching(), interrupts.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.requested() == signal.SIGTERM


@pytest.mark.parametrize(
    ("slow_part", "words"),
    [
        ("cnnlab.data.synthetic.load", ["train", "dataset=synthetic"]),
        ("cnnlab.data.synthetic.load", ["prepare", "dataset=synthetic", "output=store"]),
        ("cnnlab.trainer.run.assemble", ["train"]),
        ("cnnlab.data.manifest.read", ["prepare", "output=store", "verify=true"]),
    ],
)
def test_what_a_command_begins_with_ends_with_the_request(
    slow_part: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_for_ever(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slow_part, take_for_ever)
    assert main(words) == 143
    assert [*tmp_path.iterdir()] == []


def test_waiting_for_another_preparation_ends_with_the_request(tmp_path: Path) -> None:
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM])
    with building(tmp_path / "store", 0), interrupts.watching():
        timer.start()
        with pytest.raises(Interrupted), building(tmp_path / "store", 600):
            pytest.fail("two hold the lock")
        timer.join()


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


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


BEFORE_THE_TASK = """
import os, time
from cnnlab import starting
for number, code in starting.ENDING.items():
    child = os.fork()
    if child == 0:
        starting.exit_on_signals()
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code, number
"""


def test_before_there_is_anything_to_save_a_request_ends_with_its_code() -> None:
    words = [sys.executable, "-c", BEFORE_THE_TASK]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "cnnlab: interrupted\n")
