"""Shares are disjoint, complete and even; several processes see what one process sees."""

from itertools import islice

import torch
from hypothesis import given
from hypothesis import strategies as st

from cnnlab import data
from cnnlab.data.augment import build_augment, rows_of
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.stream import Batch, InOrder, Stream
from cnnlab.distributed.share import Share
from cnnlab.runtime import make_generator
from tests.data.settings import augment_config, dataset_config


@given(total=st.integers(0, 1000), size=st.integers(1, 70))
def test_shares_are_the_whole_in_order(total: int, size: int) -> None:
    slices = [Share(rank, size).slice_of(total) for rank in range(size)]

    assert [row for own in slices for row in range(total)[own.rows]] == list(range(total))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1
    assert {own.total for own in slices} == {total}


def store(num_images: int):
    config = dataset_config("synthetic", num_train=num_images, num_test=61, num_validation=0)
    return data.build(config).train


def shown(share: Share, num_steps: int) -> list[Batch]:
    stream = Stream(store(57), BatchSampler(57, 8, seed=3), device="cpu", share=share)
    return list(islice(stream.batches(), num_steps))


def test_the_processes_of_a_job_see_what_one_process_sees() -> None:
    augment = build_augment(augment_config("crop_mirror"), mirror_allowed=True)

    def pictures(batch: Batch) -> torch.Tensor:
        generator = make_generator(3, "augment", batch.step)
        assert batch.rank_slice is not None
        drawn = augment.draw(batch.rank_slice.total, 32, generator)
        return augment.apply(batch.images, rows_of(drawn, batch.rank_slice.rows))

    for size in (2, 3, 9):
        shares = [shown(Share(rank, size), 10) for rank in range(size)]
        for step, whole in enumerate(shown(Share(), 10)):
            batches = [share[step] for share in shares]
            assert torch.equal(torch.cat([batch.labels for batch in batches]), whole.labels)
            assert torch.equal(torch.cat([pictures(batch) for batch in batches]), pictures(whole))


def test_the_stream_knows_how_many_all_processes_see() -> None:
    stream = Stream(store(57), BatchSampler(57, 8, seed=3), device="cpu")
    counts = [len(batch.labels) for batch in islice(stream.batches(), 10)]

    assert counts[7] == 1
    assert [stream.num_images_at(step) for step in range(10)] == counts


def test_evaluation_shares_are_the_set_in_order() -> None:
    labels = []
    for rank in range(3):
        batches = InOrder(store(61), batch_size=8, device="cpu", share=Share(rank, 3))
        labels += [batch.labels for batch in batches]

    assert torch.equal(torch.cat(labels), store(61).labels)


def test_more_processes_than_images_leave_some_without() -> None:
    batches = InOrder(store(61), batch_size=8, device="cpu", share=Share(0, 100))

    assert list(batches) == []
