"""What `cnnlab benchmark` times: whole batches, and limits on random data."""

import dataclasses
import time

import pytest
import torch
from torch import Tensor

from cnnlab.config import parse_train
from cnnlab.data.stream import Batch
from cnnlab.trainer.assemble import assemble
from cnnlab.trainer.throughput import Bench, Stopwatch, copy_bytes, random_matrices, random_words
from cnnlab.training.loop import StepReport, TrainState
from tests.test_config import composed

CPU = torch.device("cpu")


def recording_bench(*words: str) -> tuple[Bench, list[int]]:
    """Return the bench of a training on 40 images, and the sizes of the batches it will train."""
    few = ["dataset=synthetic", "dataset.num_train=50", "dataset.num_validation=10", "model=linear"]
    config = parse_train(composed("train", *few, "augment=none", "runtime.device=cpu", *words))
    assembly = assemble(config, CPU)
    sizes: list[int] = []

    def step(state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        sizes.append(len(labels))
        return train(state, images, labels)

    train = assembly.step
    update = dataclasses.replace(assembly.update, step=step)
    return Bench(dataclasses.replace(assembly, update=update), seconds=0.05), sizes


def test_the_limits_are_measured_on_random_data_of_the_stated_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Zeros may be one page of memory, and equal numbers let a GPU clock higher."""
    words = random_words(CPU, 2**16)
    assert words.nbytes == 2**16
    assert len(words.unique()) == len(words)
    for matrix in random_matrices(CPU, 64, torch.bfloat16):
        assert matrix.shape == (64, 64)
        assert matrix.dtype == torch.bfloat16
        assert matrix.float().std().item() == pytest.approx(1, abs=0.1)

    gpu = torch.device("cuda", 0)
    for free, copied in ((2**36, 2**31), (2**32, 2**30)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 2**37))
        assert copy_bytes(gpu) == copied
    assert copy_bytes(CPU) == 2**26


def test_the_limit_is_the_median_of_its_rounds() -> None:
    pauses = iter([0.0, 0.0, 0.02, 0.0, 0.02, 0.02])  # the first one is the warm-up
    assert Stopwatch(CPU).median(lambda: time.sleep(next(pauses)), repeats=5) >= 0.02


def test_only_whole_batches_are_timed() -> None:
    """Of 40 images, the third batch of each epoch would have 8."""
    bench, sizes = recording_bench("trainer.batch_size=16")
    loop = bench.parts()[3]
    assert len(sizes) > 6
    assert set(sizes) == {16}
    per_second = 1e3 * 16 / loop.milliseconds_per_batch
    assert loop.images_per_second == pytest.approx(per_second)


def test_each_augmentation_that_is_timed_is_that_of_another_whole_batch() -> None:
    """On a GPU the parameters of a step are kept, and drawing them is a part of the cost."""
    bench, _ = recording_bench("trainer.batch_size=16")
    steps: list[int] = []

    def augment(batch: Batch) -> Tensor:
        steps.append(batch.step)
        return batch.images

    bench._inputs = augment
    bench._augmentation()
    assert len(set(steps)) == len(steps) > 3
    assert {bench.assembly.stream.num_images_at(step) for step in steps} == {16}


def test_a_set_smaller_than_a_batch_is_one_batch_of_its_size() -> None:
    bench, sizes = recording_bench("trainer.batch_size=64")
    loop = bench.parts()[3]
    assert set(sizes) == {40}
    per_second = 1e3 * 40 / loop.milliseconds_per_batch
    assert loop.images_per_second == pytest.approx(per_second)
