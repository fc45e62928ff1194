"""Heartbeats name the rank that is silent, and the one that the others wait for."""

from cnnlab.distributed.heartbeats import Heartbeats


def beat(time: float, num_collectives: int, num_notes: int = 0) -> str:
    return f"{time} {num_collectives} {num_notes}"


def test_a_rank_whose_heartbeat_does_not_change_is_silent() -> None:
    heartbeats = Heartbeats(3, now=0.0)
    for now in (1.0, 2.0, 12.0):
        heartbeats.update([beat(now, 1), beat(1.0, 1), None], now)

    assert heartbeats.silent(11.0, seconds=10) == [2]  # it never sent one
    assert heartbeats.silent(11.5, seconds=10) == [1, 2]


def test_without_progress_the_rank_with_the_fewest_collectives_is_named() -> None:
    heartbeats = Heartbeats(2, now=0.0)
    for now in (1.0, 2.0, 3.0):  # both live, and wait for each other
        heartbeats.update([beat(now, 7), beat(now, 6)], now)

    assert heartbeats.stalled(21.0, seconds=20) is None
    assert heartbeats.stalled(21.5, seconds=20) == 1


def test_a_rank_that_notes_its_work_makes_progress() -> None:
    heartbeats = Heartbeats(2, now=0.0)
    for now in (1.0, 2.0, 3.0):
        heartbeats.update([beat(now, 7), beat(now, 6, num_notes=int(now))], now)

    assert heartbeats.stalled(22.0, seconds=20) is None
    heartbeats.note_progress(23.0)
    assert heartbeats.stalled(42.0, seconds=20) is None
