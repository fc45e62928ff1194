"""As many threads compute as the work of one pass feeds: a rule by size."""

import contextlib
import json
from pathlib import Path

import pytest
import torch

from cnnlab import runtime, session
from cnnlab.cli import main
from cnnlab.config import parse_train
from cnnlab.cpu import thread_count
from cnnlab.cpu.processors import Budget, budget
from cnnlab.cpu.thread_count import MULTIPLY_ADDS_PER_THREAD, Threads, as_before, choose
from cnnlab.trainer.assemble import assemble
from tests.test_config import composed

CPU = torch.device("cpu")
FOUR = Budget(processors=8, cores=4)
BOXED = Budget(processors=2, cores=2, limit="the container's quota")
LENET5, ALEXNET_AT_64 = 416_520, 72_000_000
"""Multiply-adds of the forward pass of one image."""

QUICK = [
    "runtime.device=cpu", "logging.tensorboard=false", "logging.report=false",
    "logging.progress=false", "trainer.epochs=1", "trainer.limit_train_batches=2",
    "model=linear", "dataset.num_validation=20", "logging.images_every_epochs=null",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_counts_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    before = torch.get_num_threads()
    for name in thread_count.OPENMP_COUNTS:
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


WORKS = [
    (None, 4),
    (0, 1),
    (64 * LENET5, 1),
    (128 * LENET5, 1),
    (64 * ALEXNET_AT_64, 4),
    (MULTIPLY_ADDS_PER_THREAD - 1, 1),
    (2 * MULTIPLY_ADDS_PER_THREAD, 2),
    (4 * MULTIPLY_ADDS_PER_THREAD - 1, 3),
]


@pytest.mark.parametrize(("multiply_adds", "number"), WORKS)
def test_the_work_of_a_pass_decides(multiply_adds: int | None, number: int) -> None:
    found = choose(None, FOUR, of_torch=8, multiply_adds=multiply_adds, environment={})
    assert (found.number, found.fixed) == (number, False)


def test_the_reason_is_told() -> None:
    def reason(asked: int | None, box: Budget, work: int, **environment: str) -> str:
        return choose(asked, box, of_torch=8, multiply_adds=work, environment=environment).reason

    small, large = 64 * LENET5, 64 * ALEXNET_AT_64
    assert (
        reason(None, FOUR, small) == "a pass of 27 million multiply-adds feeds no more of 4 cores"
    )
    assert reason(None, FOUR, large) == "one for each core"
    assert reason(None, BOXED, large) == "one for each core, limited by the container's quota"
    assert reason(3, BOXED, large) == "runtime.num_threads"
    named = reason(None, BOXED, large, MKL_NUM_THREADS="5")
    assert named == "MKL_NUM_THREADS in the environment"


def test_whoever_names_a_number_gets_it() -> None:
    alone = {"OMP_NUM_THREADS": "8"}
    assert choose(5, FOUR, of_torch=8, multiply_adds=0, environment=alone).number == 5
    assert choose(None, FOUR, of_torch=8, multiply_adds=0, environment=alone).number == 8
    assert (
        choose(None, FOUR, of_torch=8, multiply_adds=0, environment={"OMP_NUM_THREADS": ""}).number
        == 1
    )


RECORDED = [(2, 2), (8, 8), (9, 1), (1, 1), (0, 1), (None, 1), ("2", 1), (True, 1), (2.0, 1)]


@pytest.mark.parametrize(("recorded", "number"), RECORDED)
def test_a_run_continues_with_its_threads_where_there_are_so_many(
    recorded: object, number: int
) -> None:
    now = Threads(1, "a pass of 27 million multiply-adds feeds no more of 4 cores")
    assert as_before(now, recorded, FOUR).number == number
    asked = Threads(1, "runtime.num_threads", fixed=True)
    assert as_before(asked, recorded, FOUR) is asked


def test_a_gpus_work_feeds_no_thread_of_the_host() -> None:
    found = runtime.use_threads(torch.device("cuda:0"), None, multiply_adds=10**12)
    assert found.number == torch.get_num_threads() == budget().cores


def test_a_program_that_loads_a_network_keeps_its_threads() -> None:
    torch.set_num_threads(3)
    session.begin_in_python("cpu").feed(0)
    assert torch.get_num_threads() == 3


ASSEMBLED = [
    (["trainer.batch_size=64"], 1),
    (["trainer.batch_size=512"], 2),
    (["trainer.batch_size=512", "trainer.accumulate=2"], 1),
    (["trainer.batch_size=100000"], 4),
    (["trainer.batch_size=64", "runtime.num_threads=3"], 3),
]


@pytest.mark.parametrize(("words", "number"), ASSEMBLED)
def test_training_computes_with_what_its_batches_feed(
    words: list[str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LeNet-5 and its 3,500 training images, which are all that a larger batch has."""
    monkeypatch.setattr(runtime, "budget", lambda: FOUR)
    config = parse_train(composed("train", "model=lenet5", "runtime.device=cpu", *words))
    assert assemble(config, CPU).threads.number == torch.get_num_threads() == number


def test_a_run_continues_with_the_threads_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of an earlier version, for which the network's size did not count."""
    monkeypatch.setattr(runtime, "budget", lambda: FOUR)
    again = ["resume=run", "trainer.epochs=2", "allow_changes=[trainer.epochs]"]
    with contextlib.chdir(tmp_path):
        assert main(["train", "hydra.run.dir=run", "runtime.num_threads=2", *QUICK]) == 0
        assert main(["train", *again, "runtime.num_threads=null"]) == 0
        told = json.loads(Path("run/run.json").read_text())["threads"]
        assert torch.get_num_threads() == told["number"] == 2

        assert main(["evaluate", "checkpoint=run", "runtime.device=cpu", "output=report"]) == 0
        assert torch.get_num_threads() == 1  # a linear network feeds no more

    log = (tmp_path / "run/train.log").read_text()
    assert f"threads     2: {told['reason']}" in log
    assert "not bit-identically" not in log
