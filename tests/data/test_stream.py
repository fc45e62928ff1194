from itertools import islice

import pytest
import torch

from cnnlab.data.store import ArrayStore
from cnnlab.data.stream import Batch, InOrder, Stream, in_order
from cnnlab.errors import UsageError
from cnnlab.preprocessing import Preprocessing

NUM_IMAGES = 23


def numbered_store(num: int = NUM_IMAGES, channels: int = 1) -> ArrayStore:
    """Every pixel of image k is k; its label is k too."""
    images = torch.arange(num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 6, 6, channels)
    names = tuple(f"class {item}" for item in range(num))
    return ArrayStore("numbered", "train", images.contiguous(), torch.arange(num), names, True)


def stream(**settings) -> Stream:
    return Stream(numbered_store(), **{"batch_size": 5, "seed": 1, "device": "cpu", **settings})


def flat(batches: list[Batch]) -> list[int]:
    return torch.cat([batch.labels for batch in batches]).tolist()


def shown(batches: list[Batch]) -> list[list[int]]:
    return [batch.labels.tolist() for batch in batches]


def test_every_epoch_shows_every_image_once_and_uses_the_short_batch() -> None:
    source = stream()
    assert source.steps_per_epoch == 5
    batches = list(islice(source.batches(), 15))
    for epoch in range(3):
        labels = flat(batches[5 * epoch : 5 * epoch + 5])
        assert sorted(labels) == list(range(NUM_IMAGES))
        assert len(batches[5 * epoch + 4].labels) == 3
    assert [(batch.step, batch.epoch) for batch in batches] == [(k, k // 5) for k in range(15)]


def test_images_belong_to_their_labels() -> None:
    for residency in ("device", "host", "mapped"):
        for batch in islice(stream(residency=residency).batches(), 6):
            assert batch.images.shape[1:] == (1, 6, 6)
            assert torch.equal(batch.images[:, 0, 3, 3].long(), batch.labels)


@pytest.mark.parametrize("start", [0, 1, 4, 5, 7, 12])
def test_a_stream_started_at_a_step_goes_on_as_if_never_stopped(start: int) -> None:
    whole = shown(list(islice(stream().batches(), 15)))
    assert shown(list(islice(stream().batches(start), 15 - start))) == whole[start:]


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(5)
    first = shown(list(islice(stream().batches(), 10)))
    torch.manual_seed(6)
    assert shown(list(islice(stream().batches(), 10))) == first
    assert shown(list(islice(stream(seed=2).batches(), 10))) != first
    assert first[:5] != first[5:]


def test_limited_epochs_still_differ() -> None:
    source = stream(limit_batches=2)
    assert source.steps_per_epoch == 2
    batches = shown(list(islice(source.batches(), 6)))
    assert batches[0:2] == shown(list(islice(stream().batches(), 2)))
    assert batches[0:2] != batches[2:4]


def test_one_batch_is_shown_for_ever() -> None:
    source = stream()
    source.repeat_first_batch()
    batches = shown(list(islice(source.batches(), 12)))
    assert batches == [batches[0]] * 12


def test_residency_does_not_change_what_is_shown() -> None:
    prepare = Preprocessing(3, 16, 2, torch.zeros(3), torch.ones(3)).prepare
    kinds = [stream(residency=kind, prepare=prepare) for kind in ("device", "host", "mapped")]
    for batches in zip(*(islice(kind.batches(), 6) for kind in kinds), strict=True):
        for batch in batches:
            assert batch.images.shape[1:] == (3, 16, 16)
            assert torch.equal(batch.images, batches[0].images)
            assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_auto_names_the_residency_it_chose() -> None:
    assert stream(residency="auto").residency == "device"


def test_in_order_goes_through_all_images_again_and_again() -> None:
    batches = in_order(numbered_store(), 10, "cpu")
    for _ in range(2):
        assert flat(list(batches)) == list(range(NUM_IMAGES))
    assert len(batches) == 3
    assert [len(batch.labels) for batch in batches] == [10, 10, 3]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        InOrder(numbered_store(), batch_size=0, device="cpu")
