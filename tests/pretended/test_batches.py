"""Batches for a pretended CUDA device: the CPU's pictures, and none waits but the first."""

from itertools import islice

import pytest
import torch
from torch import Tensor

from cnnlab.data import ahead
from cnnlab.data.inputs import Inputs
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.stream import Stream
from cnnlab.distributed.share import Share
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, COPY, MIX, RACE, WAIT
from tests.pretended.runs import Training

SET = (
    "model=lenet5",
    "dataset=synthetic",
    "dataset.num_train=18",
    "dataset.num_validation=0",
    "dataset.image_size_pixels=36",
    "trainer.batch_size=4",
)
AUGMENTS = {
    "none": ("augment=none",),
    "crop": ("augment=crop",),
    "crop_mirror": ("augment=crop_mirror",),
    "affine": ("augment=affine",),
    "alexnet": ("augment=alexnet", "augment.crop_pixels=32"),
    "alexnet with means": (
        "augment=alexnet",
        "augment.crop_pixels=32",
        "augment.images_per_draw=3",
        "augment.mean_position=cropped",
        "augment.color_divides=true",
        "dataset.normalize=pixel",
    ),
    "resized_crop": ("augment=resized_crop", "augment.crop_pixels=32"),
}
NUM_STEPS = 13
"""Two epochs and more; the last of the five batches of an epoch has two images."""

Pictures = list[tuple[Tensor, Tensor]]


def pictures(words: tuple[str, ...], device: str, first: int = 0) -> Pictures:
    """Return images and labels of the steps from `first` on, as the network gets them."""
    batches = Training.start(words, device).parts.batches(first)
    return [(images.cpu(), labels.cpu()) for images, labels in islice(batches, NUM_STEPS - first)]


def assert_equal(found: Pictures, wanted: Pictures) -> None:
    assert len(found) == len(wanted)
    for pair, wanted_pair in zip(found, wanted, strict=True):
        assert all(torch.equal(f, w) for f, w in zip(pair, wanted_pair, strict=True))


PLACES = [*((name, "device") for name in AUGMENTS), ("alexnet", "host"), ("alexnet", "mapped")]


@pytest.mark.parametrize(("augment", "residency"), PLACES)
def test_no_batch_waits_and_all_are_those_of_the_cpu(augment: str, residency: str) -> None:
    words = (*SET, *AUGMENTS[augment], f"dataset.residency={residency}")
    with pretended() as record:
        batches = Training.start(words, "cuda:0").parts.batches()
        found = [next(batches)]  # which waits once, to see whether pixels are divided by something
        record.clear()
        found += islice(batches, NUM_STEPS - 1)

        assert not record.of(BLOCKING_COPY, MIX, RACE)
        assert record.threads_of(WAIT) <= {"prefetch"}, record.table(WAIT)
        if residency == "device":  # the order of two more epochs, blocks of 2, 4 and 8 steps
            assert record.counts()[COPY] == 2 + (0 if augment == "none" else 3)
        batches.close()  # type: ignore[attr-defined]
        found = [(images.cpu(), labels.cpu()) for images, labels in found]
    assert_equal(found, pictures(words, "cpu"))


@pytest.mark.parametrize("first", [2, 5, 9])
def test_a_run_resumed_within_a_block_sees_the_same_pictures(first: int) -> None:
    words = (*SET, *AUGMENTS["alexnet"])
    with pretended():
        found = pictures(words, "cuda:0", first)
    assert_equal(found, pictures(words, "cpu")[first:])


def test_a_block_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*SET, *AUGMENTS["alexnet"])
    monkeypatch.setattr(ahead, "BYTES_AHEAD", 1)
    with pretended() as record:
        batches = Training.start(words, "cuda:0").parts.batches()
        record.clear()
        found = [(images.cpu(), labels.cpu()) for images, labels in islice(batches, NUM_STEPS)]
        assert record.counts()[COPY] == 3 + NUM_STEPS
    assert_equal(found, pictures(words, "cpu"))


@pytest.mark.parametrize("residency", ["device", "host"])
def test_processes_see_together_what_one_sees(residency: str) -> None:
    """Three of them; the last batch of an epoch has two images, so that one process has none."""
    words = (*SET, *AUGMENTS["alexnet"])

    def of_process(share: Share) -> Pictures:
        parts = Training.start(words, "cuda:0").parts
        sampler = BatchSampler(18, 4, parts.config.seed)
        prepare = parts.preprocessing.prepare
        stream = Stream(
            parts.splits.train,
            sampler,
            device="cuda:0",
            residency=residency,
            prepare=prepare,
            share=share,
        )
        inputs = Inputs(parts.augmentation, parts.preprocessing, 0, stream.rows_at)
        return [(inputs(b).cpu(), b.labels.cpu()) for b in islice(stream.batches(), NUM_STEPS)]

    with pretended():
        shares = [of_process(Share(rank, 3)) for rank in range(3)]
    together = [
        tuple(map(torch.cat, zip(*each, strict=True))) for each in zip(*shares, strict=True)
    ]
    assert_equal(together, pictures(words, "cpu"))  # type: ignore[arg-type]
