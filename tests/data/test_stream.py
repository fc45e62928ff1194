import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.config import DatasetConfig
from cnnlab.data import prefetch as prefetch_module
from cnnlab.data import residency
from cnnlab.data.prefetch import prefetch
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.store import ArrayStore, Store
from cnnlab.data.stream import Batch, InOrder, Stream
from cnnlab.errors import DataError, ResourceError, UsageError
from cnnlab.preprocessing import Preprocessing
from tests.data.pictures import write_train_and_test
from tests.data.settings import dataset_config

NUM_IMAGES = 23


def numbered_store(num: int = NUM_IMAGES, channels: int = 1) -> ArrayStore:
    """Every pixel of image k is k; its label is k too."""
    images = torch.arange(num, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 6, 6, channels)
    names = tuple(f"class {item}" for item in range(num))
    return ArrayStore("numbered", "train", images.contiguous(), torch.arange(num), names, True)


def stream(
    seed: int = 1, limit_batches: int | None = None, overfit_one_batch: bool = False, **settings
) -> Stream:
    sampler = BatchSampler(NUM_IMAGES, 5, seed, limit_batches, overfit_one_batch)
    return Stream(numbered_store(), sampler, device="cpu", **settings)


def mapped_stream(store: Store, batch_size: int = 4, seed: int = 0) -> Stream:
    sampler = BatchSampler(len(store), batch_size, seed)
    return Stream(store, sampler, device="cpu", residency="mapped")


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
    for kind in ("device", "host", "mapped"):
        for batch in islice(stream(residency=kind).batches(), 6):
            assert batch.images.shape[1:] == (1, 6, 6)
            assert torch.equal(batch.images[:, 0, 3, 3].long(), batch.labels)


@pytest.mark.parametrize("start", [0, 1, 4, 5, 7, 12])
def test_a_stream_started_at_a_step_continues_as_if_never_stopped(start: int) -> None:
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


def test_one_batch_is_shown_without_end() -> None:
    source = stream(overfit_one_batch=True)
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
    batches = InOrder(numbered_store(), batch_size=10, device="cpu")
    for _ in range(2):
        assert flat(list(batches)) == list(range(NUM_IMAGES))
    assert len(batches) == 3
    assert [len(batch.labels) for batch in batches] == [10, 10, 3]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size"):
        InOrder(numbered_store(), batch_size=0, device="cpu")


def file_config(root: Path, **changes) -> DatasetConfig:
    return dataset_config("folder", root=str(root), image_size_pixels=24, **changes)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_train_and_test(tmp_path_factory.mktemp("pictures"), each=5)


def test_decoding_while_training_shows_what_resident_images_show(pictures: Path) -> None:
    """1 and 4 decoding threads, prefetched or not, from the start or the middle of an epoch."""
    store = data.load(file_config(pictures)).train
    sampler = BatchSampler(len(store), batch_size=6, seed=3)
    resident = Stream(store, sampler, device="cpu", residency="device")
    expected = list(islice(resident.batches(), 9))

    for num_threads in (1, 4):
        store = data.load(file_config(pictures, num_decode_threads=num_threads)).train
        mapped = mapped_stream(store, batch_size=6, seed=3)
        for start in (0, 2, 5):
            found = islice(mapped.batches(start), 9 - start)
            for batch, wanted in zip(found, expected[start:], strict=True):
                assert torch.equal(batch.images, wanted.images)
                assert torch.equal(batch.labels, wanted.labels)
                assert (batch.step, batch.epoch) == (wanted.step, wanted.epoch)


def test_a_bad_file_ends_the_stream_with_its_path(tmp_path: Path) -> None:
    write_train_and_test(tmp_path, each=3)
    (tmp_path / "train" / "class_2" / "0001.jpg").write_bytes(b"")
    store = data.load(file_config(tmp_path)).train
    batches = mapped_stream(store).batches()
    with pytest.raises(DataError, match=r"0001\.jpg: empty file"):
        list(islice(batches, 3))


def test_a_stream_that_is_dropped_leaves_no_thread(pictures: Path) -> None:
    store = data.load(file_config(pictures)).train
    batches = mapped_stream(store).batches()
    next(batches)
    assert "prefetch" in {thread.name for thread in threading.enumerate()}
    batches.close()
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


def end_in_the_middle(script: str, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_process_that_ends_while_items_are_made_ends_quietly() -> None:
    """Without torch, which takes seconds to import."""
    script = (
        "import importlib.util, sys, time\n"
        "spec = importlib.util.spec_from_file_location('prefetch', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "items = module.prefetch((time.sleep(0.01) for _ in range(10**6)), 3)\n"
        "next(items)\n"
    )
    assert end_in_the_middle(script, prefetch_module.__file__) == (0, "")


@pytest.mark.slow
def test_a_process_that_ends_in_the_middle_of_decoding_ends_quietly(pictures: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.data.test_stream import data, file_config, mapped_stream\n"
        "store = data.load(file_config(Path(sys.argv[1]))).train\n"
        "batches = mapped_stream(store).batches()\n"
        "next(batches)\n"
    )
    assert end_in_the_middle(script, str(pictures)) == (0, "")


def test_prefetching_is_bounded() -> None:
    made = []

    def count() -> Iterator[int]:
        for item in range(1000):
            made.append(item)
            yield item

    items = prefetch(count(), depth=3)
    assert next(items) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 3 + 1 + 1  # taken, queued, waiting to be queued, and being made
    assert list(items) == list(range(1, 1000))


def test_auto_leaves_large_sets_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency, "free_bytes", lambda device: 23 * 36 * 2 - 1)
    assert stream(residency="auto").residency == "mapped"
    monkeypatch.setattr(residency, "free_bytes", lambda device: 23 * 36 * 2)
    assert stream(residency="auto").residency == "device"


def test_a_set_too_large_for_its_residency_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(residency, "_prepare_all", full)
    with pytest.raises(ResourceError, match="828 bytes of images do not fit on cpu") as caught:
        stream(residency="device")
    assert "dataset.residency=mapped" in caught.value.hint
