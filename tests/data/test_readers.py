"""Several readers of mapped images: the same batches, and no slot written before it was read."""

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor

from cnnlab.data import device_jpeg
from cnnlab.data.permuted import PermutedStore
from cnnlab.data.prepared import open_splits
from cnnlab.data.readers import READ_AHEAD, Ring, in_order
from cnnlab.data.residency import Prepare
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.store import ArrayStore, Store, SubsetStore
from cnnlab.data.stream import Stream
from cnnlab.errors import DataError, UsageError
from tests.data.pictures import write_train_and_test
from tests.data.test_building import STRICT, builder
from tests.pretended import device as pretence
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, MIX, RACE, WAIT

DEPRECATED = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
"""torchvision 0.29 says that TorchCodec will take the place of its decoders."""

CPU, NUM_STEPS = torch.device("cpu"), 9
MOST_LEVELS, MEAN_LEVELS = 8, 1.0
"""Between two decoders of JPEG: of a number, and on average."""


def as_stored(images: Tensor) -> Tensor:
    return images


def cropped(images: Tensor) -> Tensor:
    return images[:, :, 1:7, 2:8]


def array_store() -> ArrayStore:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (11, 8, 9, 3), generator=generator).byte()
    return ArrayStore("noise", "train", images, torch.arange(11), tuple("abcdefghijk"), True)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("jpegs")
    builder(write_train_and_test(root, each=2), root / "store", encoding="jpeg").run(STRICT)
    return open_splits(root / "store").train


def pictures(
    store: Store, device: str, num_readers: int, prepare: Prepare
) -> list[tuple[Tensor, Tensor]]:
    """Return images and labels of some steps, over the end of an epoch, read by so many threads."""
    stream = Stream(
        store, BatchSampler(len(store), 4, 0), device=device, residency="mapped", prepare=prepare
    )
    if num_readers:
        stream.read_by(Ring(store, prepare, torch.device(device), num_readers))
    batches = stream.batches()
    found = [(batch.images.cpu(), batch.labels.cpu()) for batch in islice(batches, NUM_STEPS)]
    batches.close()  # type: ignore[attr-defined]
    return found


def assert_equal(found: list[tuple[Tensor, Tensor]], wanted: list[tuple[Tensor, Tensor]]) -> None:
    assert len(found) == len(wanted)
    for (images, labels), (wanted_images, wanted_labels) in zip(found, wanted, strict=True):
        assert torch.equal(images, wanted_images)
        assert torch.equal(labels, wanted_labels)


@pytest.mark.parametrize("prepare", [as_stored, cropped])
@pytest.mark.parametrize("num_readers", [1, 3])
@pytest.mark.parametrize("kind", ["array", "jpegs"])
def test_any_number_of_readers_yields_the_batches_of_one_thread(
    kind: str, num_readers: int, prepare: Prepare, jpegs: Store
) -> None:
    store = array_store() if kind == "array" else jpegs
    wanted = pictures(store, "cpu", 0, prepare)
    assert_equal(pictures(store, "cpu", num_readers, prepare), wanted)


@pytest.mark.parametrize("prepare", [as_stored, cropped])
def test_on_a_gpu_readers_alone_wait_and_no_slot_is_written_too_early(prepare: Prepare) -> None:
    wanted = pictures(array_store(), "cpu", 0, prepare)
    with pretended() as record:
        stream = Stream(
            *(array_store(), BatchSampler(11, 4, 0)),
            device="cuda:0",
            residency="mapped",
            prepare=prepare,
        )
        stream.read_by(Ring(array_store(), prepare, torch.device("cuda", 0), 2))
        record.clear()
        batches = stream.batches()
        found = list(islice(batches, NUM_STEPS))
        batches.close()  # type: ignore[attr-defined]
        assert all(name.startswith("reader") for name in record.threads_of(WAIT))
        assert not record.of(BLOCKING_COPY, MIX, RACE), record.table(BLOCKING_COPY, MIX, RACE)
        assert_equal([(batch.images.cpu(), batch.labels.cpu()) for batch in found], wanted)


def test_a_slot_that_is_used_again_before_its_copy_was_awaited_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretence._Stream, "synchronize", lambda self: None)
    with pretended() as record:
        ring = Ring(array_store(), as_stored, torch.device("cuda", 0), 1)
        for first in (0, 3):
            ring.take_run(first, first + 3)
        assert record.of(RACE)


def test_jobs_are_done_at_once_and_come_out_in_order() -> None:
    both = threading.Barrier(2, timeout=60)

    def work(job: int) -> int:
        both.wait()  # ends only where two are in it
        time.sleep(0.002 * (job % 2 == 0))
        return job

    assert list(in_order(iter(range(8)), work, 2)) == list(range(8))


def test_an_error_of_a_job_is_raised_in_its_place_and_ends_the_readers() -> None:
    def work(job: int) -> int:
        if job == 3:
            raise DataError("job 3 is bad")
        return job

    source = in_order(iter(range(50)), work, 2)
    assert list(islice(source, 3)) == [0, 1, 2]
    with pytest.raises(DataError, match="job 3"):
        next(source)
    assert not [t for t in threading.enumerate() if t.name.startswith("reader")]


def test_no_more_jobs_are_begun_than_are_read_ahead() -> None:
    begun: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(100):
            begun.append(job)
            yield job

    source = in_order(jobs(), lambda job: job, 2)
    next(source)
    assert len(begun) == 2 * READ_AHEAD + 1
    source.close()  # type: ignore[attr-defined]


@DEPRECATED
@pytest.mark.slow
def test_the_jpegs_of_a_store_are_those_it_decodes_to_some_levels(jpegs: Store) -> None:
    subset = SubsetStore(jpegs, "train", torch.tensor([5, 0, 3]))
    indices = torch.tensor([2, 0])
    there = device_jpeg.decode_on(CPU, subset.encoded(indices), 3).permute(0, 2, 3, 1)
    here = subset.read(indices)
    apart = (there.int() - here.int()).abs()
    assert int(apart.max()) <= MOST_LEVELS
    assert float(apart.float().mean()) <= MEAN_LEVELS


@DEPRECATED
@pytest.mark.slow
def test_what_is_no_jpeg_is_refused_with_what_to_do(jpegs: Store) -> None:
    (encoded,) = jpegs.encoded(torch.tensor([0]))
    with pytest.raises(DataError, match="cannot be decoded on the device") as raised:
        device_jpeg.decode_on(CPU, [encoded[:3]], 3)
    assert "dataset.decode=host" in raised.value.hint


GPU = torch.device("cuda", 0)


def test_stores_that_are_not_read_in_this_way_are_refused(jpegs: Store) -> None:
    with pytest.raises(UsageError, match="decode=device needs a CUDA device"):
        Ring(jpegs, as_stored, CPU, 1, decodes_there=True)
    with pytest.raises(UsageError, match="needs a Store of JPEGs"):
        Ring(array_store(), as_stored, GPU, 1, decodes_there=True)
    with pytest.raises(UsageError, match="needs a Store of JPEGs"):
        Ring(PermutedStore(jpegs, 0), as_stored, GPU, 1, decodes_there=True)
    files = array_store()
    files.decodes = True
    with pytest.raises(UsageError, match="num_readers=2 has no effect on image files"):
        Ring(files, as_stored, CPU, 2)

    kept = Stream(jpegs, BatchSampler(len(jpegs), 4, 0), device="cpu", residency="host")
    with pytest.raises(UsageError, match="kept in memory"):
        kept.read_by(Ring(jpegs, as_stored, CPU, 2))
