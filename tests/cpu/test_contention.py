"""A line where threads that wait for one another lose their processors; none on an idle machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnlab.cpu.contention import ContentionWatch, Times, is_hurting, read_times

CASES = {
    "idle": (Times(10, 0.1), 0.006, 0.005, False),
    "idle, slow steps now and then": (Times(10, 0.1), 0.060, 0.005, False),
    "two threads that spin, one busy loop": (Times(6.7, 3.3), 0.030, 0.006, True),
    "two threads that sleep, one busy loop": (Times(4.5, 2.0), 0.400, 0.250, False),
    "four busy loops, never a fast step": (Times(3, 7), 0.030, 0.025, True),
    "nothing was counted": (Times(0, 0), 1.0, 0.1, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_hurts(case: tuple[Times, float, float, bool]) -> None:
    times, step, fastest, expected = case
    assert is_hurting(times, step, fastest) is expected


class Machine:
    """Steps of given seconds, and threads that get a given share of the time they want."""

    def __init__(self, steps: Iterator[float], share: float | None) -> None:
        self.now, self.steps, self.share = 100.0, steps, share

    def clock(self) -> float:
        self.now += next(self.steps)
        return self.now

    def read(self) -> Times | None:
        return (
            None
            if self.share is None
            else Times(self.now * self.share, self.now * (1 - self.share))
        )


def warnings_of(steps: list[float], share: float | None, num_threads: int = 2) -> list[str]:
    said: list[str] = []
    machine = Machine(iter(steps), share)
    watch = ContentionWatch(num_threads, said.append, machine.clock, machine.read)
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
