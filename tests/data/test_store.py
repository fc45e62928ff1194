"""What every kind of Store over another one passes on."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cnnlab.data.files import Decoding, FileStore
from cnnlab.data.listing import list_class_folders
from cnnlab.data.permuted import PermutedStore
from cnnlab.data.store import DerivedStore, Reading, Store, SubsetStore
from tests.data.pictures import write_classes

SOURCE = Path(__file__).parents[2] / "src" / "cnnlab"
KINDS: dict[type[DerivedStore], Callable[[Store], DerivedStore]] = {
    SubsetStore: lambda store: SubsetStore(store, "test", torch.tensor([5, 0, 3, 2])),
    PermutedStore: lambda store: PermutedStore(store, 4),
}
NESTED = lambda store: KINDS[PermutedStore](KINDS[SubsetStore](store))  # noqa: E731
MAKERS = [*KINDS.values(), NESTED]
BAD = 3
READING = Reading(side_pixels=40, kernel="bicubic", max_pixels=10**6, num_threads=2)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    listing = list_class_folders(write_classes(tmp_path / "pictures", num_classes=2, each=4))
    listing.path(BAD).write_bytes(b"no picture")
    return FileStore("folder", "train", listing, Decoding(16), mirror_allowed=True, note="a note")


def test_no_code_asks_what_a_store_is() -> None:
    sources = [path.read_text() for path in SOURCE.rglob("*.py")]
    assert not [s for s in sources if re.search(r"(isinstance|issubclass)\([^)]*Store\b", s)]


def test_no_kind_is_missing_here() -> None:
    assert KINDS.keys() == set(DerivedStore.__subclasses__())


@pytest.mark.parametrize("make", MAKERS, ids=["subset", "permuted", "both"])
class TestEveryKind:
    def test_it_can_be_read_in_another_way(
        self, make: Callable[[Store], DerivedStore], files: FileStore
    ) -> None:
        other = make(files).read_as(READING)
        assert other.image_shape == (40, 40, 3)
        good = torch.tensor([0, 1])
        assert torch.equal(other.read(good), make(files.read_as(READING)).read(good))
        assert len(other) == len(make(files))
        assert make(files).image_shape == (16, 16, 3)

    def test_it_tells_bad_images_by_place_and_name(
        self, make: Callable[[Store], DerivedStore], files: FileStore
    ) -> None:
        store = make(files)
        names = [store.name_of(index) for index in range(len(store))]
        bad_index = names.index(files.name_of(BAD))
        images, bad = store.read_good(torch.arange(len(store)))
        assert [place for place, _ in bad] == [bad_index]
        out = torch.empty_like(images)
        assert store.read_good(torch.arange(len(store)), out)[0] is out
        good = [index for index in range(len(store)) if index != bad_index]
        assert torch.equal(out[good], store.read(torch.tensor(good)))

    def test_it_costs_what_its_parent_costs(
        self, make: Callable[[Store], DerivedStore], files: FileStore
    ) -> None:
        assert make(files).decodes
        assert "a note" in make(files).note

    def test_its_digests_follow_its_parents(
        self, make: Callable[[Store], DerivedStore], files: FileStore
    ) -> None:
        before, earlier = make(files).digest, make(files).earlier_digest
        assert before != earlier
        assert make(files).has_digest(before)
        assert make(files).has_digest(earlier)
        path = files.listing.path(0)
        path.write_bytes(path.read_bytes()[::-1])  # of the same size
        del files.__dict__["digest"], files.__dict__["earlier_digest"]
        assert make(files).digest != before
        assert make(files).earlier_digest == earlier
