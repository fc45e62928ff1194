"""A line where threads that wait for one another lose their processors; none on an idle machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnlab.cpu.contention import ContentionWatch, Times, is_hurting, read_times, share_lost

TEN_SECONDS_OF_TWO = {
    "idle": (Times(19, 0.2), 0.01),
    "idle, threads that sleep": (Times(11, 0.2), 0.02),
    "two threads that spin, one busy loop": (Times(13.3, 6.7), 0.33),
    "four busy loops": (Times(6.7, 13.3), 0.66),
    "decoding threads of its own on all processors": (Times(20, 30), 0.0),
    "no thread wanted to run": (Times(0, 0), 0.0),
}


@pytest.mark.parametrize("case", TEN_SECONDS_OF_TWO.values(), ids=TEN_SECONDS_OF_TWO)
def test_what_other_programs_took(case: tuple[Times, float]) -> None:
    times, expected = case
    assert share_lost(times, seconds=10, processors=2) == pytest.approx(expected, abs=0.01)


CASES = [
    (0.01, 0.060, 0.005, False),  # idle, slow steps of its own
    (0.33, 0.030, 0.006, True),
    (0.33, 0.400, 0.250, False),  # threads that sleep while they wait
    (0.66, 0.030, 0.025, True),  # never a fast step to compare with
]


@pytest.mark.parametrize(("share", "step", "fastest", "expected"), CASES)
def test_what_hurts(share: float, step: float, fastest: float, expected: bool) -> None:
    assert is_hurting(share, step, fastest) is expected


class Machine:
    """Steps of given seconds, and threads that get a given share of the time they want."""

    def __init__(self, steps: Iterator[float], share: float | None) -> None:
        self.now, self.steps, self.share = 100.0, steps, share

    def clock(self) -> float:
        self.now += next(self.steps)
        return self.now

    def read(self) -> Times | None:
        if self.share is None:
            return None
        wanted = 2 * self.now  # of two threads
        return Times(wanted * self.share, wanted * (1 - self.share))


def warnings_of(steps: list[float], share: float | None, num_threads: int = 2) -> list[str]:
    said: list[str] = []
    machine = Machine(iter(steps), share)
    watch = ContentionWatch(num_threads, 2, said.append, machine.clock, machine.read)
    for _ in range(len(steps) // 2):
        watch.after(num_steps=10)
    return said


SLOW, FAST = [0.06] * 20 + [0.6] * 400, [0.06] * 420


def test_it_is_said_once_with_what_to_change() -> None:
    (said,) = warnings_of(SLOW, share=0.7)
    assert said == (
        "other programs keep the processors busy: 2 threads wait for one another, and 30% of their "
        "time for a processor; runtime.num_threads=1 waits for no other"
    )


@pytest.mark.parametrize(
    ("steps", "share", "num_threads"),
    [
        (FAST, 0.99, 2),
        (FAST, 0.7, 2),
        (SLOW, 0.99, 2),
        (SLOW, 0.3, 1),
        (SLOW[:24], 0.3, 2),
        (SLOW, None, 2),
    ],
    ids=["idle", "no slower", "own slow steps", "one thread", "a short burst", "not told"],
)
def test_there_is_no_false_alarm(steps: list[float], share: float | None, num_threads: int) -> None:
    assert warnings_of(steps, share, num_threads) == []


def test_the_system_counts_for_each_thread(tmp_path: Path) -> None:
    for number, text in {"10": "2000000000 500000000 7", "11": "1000000000 1500000000 9"}.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "schedstat").write_text(text + "\n")
    assert read_times(tmp_path) == Times(ran=3.0, waited=2.0)

    (tmp_path / "12").mkdir()  # a thread that has just ended
    (tmp_path / "13").mkdir()
    (tmp_path / "13" / "schedstat").write_text("")
    assert read_times(tmp_path) == Times(ran=3.0, waited=2.0)


def test_a_system_that_does_not_count_says_nothing(tmp_path: Path) -> None:
    assert read_times(tmp_path / "task") is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count")
def test_this_system_counts() -> None:
    before = read_times()
    while before is not None and (after := read_times()) is not None and after.ran == before.ran:
        sum(range(10_000))
    assert before is not None
    assert after is not None
    assert after.since(before).ran > 0
