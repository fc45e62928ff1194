"""Processes go on together only if they were started alike; one that does not come is named."""

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from cnnlab import session
from cnnlab.config import flat, parse_train, to_plain
from cnnlab.distributed import joining, meeting
from cnnlab.distributed.job_store import JobStore
from cnnlab.distributed.meeting import check_alike, meet
from cnnlab.distributed.share import Share
from cnnlab.errors import CnnlabError, PeerLostError, ResourceError, UsageError
from tests.data.pictures import write_classes
from tests.data.settings import small_folder_training
from tests.distributed.launching import SETTINGS, environment, finished
from tests.test_config import composed

SOON = 20.0
"""Seconds that no case needs; a failing test ends all the same."""


def met(
    *processes: tuple[Share, dict[str, Any]], seconds: float = SOON
) -> list[CnnlabError | None]:
    """Let processes meet in a real store, each with its own client; return what each raises."""
    held = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def one(process: tuple[Share, dict[str, Any]]) -> CnnlabError | None:
        try:
            meet(JobStore(held.clone()), *process, seconds)
        except CnnlabError as error:
            return error
        return None

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(one, processes))


def test_processes_that_were_started_alike_go_on() -> None:
    facts = {"seed": 1, "model.hidden_units": [1, 2], "augment.crop_pixels": None}
    assert met(*((Share(rank, 3), dict(facts)) for rank in range(3))) == [None] * 3


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [("seed", 0, 1), ("version of torch", "2.15.0", "2.14.0"), ("dataset.name", "a", None)],
)
def test_processes_that_differ_all_end_with_2_and_the_keys(
    key: str, ours: object, theirs: object
) -> None:
    same = {"trainer.epochs": 3}
    found = met(*((Share(r, 3), same | {key: theirs if r == 2 else ours}) for r in range(3)))
    assert {error.exit_code for error in found if error} == {2}
    assert {error.what for error in found if error} == {
        f"the processes of this job differ in {key}"
    }
    for error in found:
        assert error is not None
        assert f"{key}: {ours} in process" in error.where
        assert f"{theirs} in process 2" in error.where
        assert error.hint == meeting.ALIKE


def test_processes_that_count_differently_end_with_2() -> None:
    found = met((Share(0, 2), {}), (Share(1, 3), {}))
    assert [type(error) for error in found] == [UsageError] * 2
    assert all(
        "WORLD_SIZE: 2 in process 0, 3 in process 1" in error.where for error in found if error
    )


def test_two_processes_of_one_rank_end_with_2() -> None:
    found = met((Share(0, 3), {}), (Share(1, 3), {}), (Share(1, 3), {}))
    assert {str(error).split("\n")[0] for error in found} == {
        "two processes of this job have RANK=1"
    }


def test_a_process_that_does_not_come_is_named_within_the_limit() -> None:
    found = met((Share(0, 3), {}), (Share(2, 3), {}), seconds=0.3)
    for error in found:
        assert isinstance(error, PeerLostError)
        assert error.what == "1 of 3 processes did not come within 0.3 s: 1"
        assert "WORLD_SIZE" in error.hint


def test_many_differences_are_counted_and_none_is_shown_raw() -> None:
    ours = {f"key{number}": 0 for number in range(9)}
    theirs = dict.fromkeys(ours, "\x1b[2J" * 1000)
    with pytest.raises(UsageError) as caught:
        check_alike({0: ours, 1: theirs})
    assert "and 4 more" in caught.value.where
    assert caught.value.where.isprintable()
    assert len(caught.value.where) < 1000


@pytest.mark.parametrize(
    ("variable", "value"),
    [("RANK", "2"), ("RANK", "-1"), ("RANK", "x"), ("WORLD_SIZE", "0"), ("WORLD_SIZE", "9" * 30)],
)
def test_an_impossible_rank_or_size_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name, text in {"RANK": "0", "WORLD_SIZE": "2", variable: value}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(UsageError, match=f"{variable} must be an integer from"):
        meeting.share_of_job()


@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1", "x" * 300, "a..b"])
def test_a_store_that_cannot_be_reached_is_named_within_the_limit(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(PeerLostError, match=r"was not reached within 0\.2 s") as caught:
        joining._store_of_another(host, port, 0.2)
    assert caught.value.where == f"MASTER_ADDR={host}, MASTER_PORT={port}"


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ResourceError, match=f"MASTER_PORT={port}: Address already in use"):
            joining._own_store(port, 2)


def test_settings_in_which_machines_may_differ_exist_and_are_left_out() -> None:
    stored = json.loads(json.dumps({"seed": 1, "runtime": {"num_threads": 3, "precision": "fp32"}}))
    known = set(flat(to_plain(parse_train(composed("train", "dataset=folder", "augment=none")))))
    known |= {"dataset.download"}
    assert known >= set(session.OWN)
    assert session.of_all(stored).keys() == {"seed", "runtime.precision"}


def started_alone(folder: Path, rank: int, port: int, *words: str) -> subprocess.Popen[str]:
    """Start one process of a job of two, as a script without torchrun does."""
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    job = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "cnnlab", *words, "hydra.run.dir=run"],
        cwd=folder,
        env=environment(**own, **job),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return int(closed.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1"], "differ in seed"),
        (["trainer.epochs=5"], "differ in trainer.epochs"),
        (["dataset.root=other"], "differ in data_digest"),
    ],
)
def test_two_real_processes_that_differ_end_with_2_and_leave_no_run(
    words: list[str], said: str, tmp_path: Path
) -> None:
    both = folders_of_pictures(tmp_path) if said.endswith("data_digest") else SETTINGS
    port = free_port()
    processes = [
        started_alone(tmp_path, 0, port, *both),
        started_alone(tmp_path, 1, port, *both, *words),
    ]
    errors = [finished(process)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], errors
    assert "".join(errors).count(said) == 1
    assert not (tmp_path / "run").exists()


def folders_of_pictures(base: Path) -> list[str]:
    """Write the same names with other pictures into two folders; return the words for one."""
    for name, seed in (("one", 0), ("other", 7)):
        for split in ("train", "test"):
            write_classes(base / name / split, num_classes=2, each=8, seed=seed)
    return [*small_folder_training(num_validation=2, batch_size=4), "dataset.root=one"]


@pytest.mark.slow
def test_a_real_process_that_waits_for_another_says_so_within_the_limit(tmp_path: Path) -> None:
    process = started_alone(tmp_path, 0, free_port(), *SETTINGS, "distributed.timeout_seconds=2")
    errors = finished(process)[1]
    assert process.returncode == 7, errors
    assert "1 of 2 processes did not come within 2 s: 1" in errors
