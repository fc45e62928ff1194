import os
import shutil
from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.data.listing import list_class_folders
from cnnlab.errors import DataError, UsageError
from tests.data.pictures import smooth_picture, write_classes, write_train_and_test
from tests.data.settings import dataset_config


def load(root: Path, **changes):
    return data.build(dataset_config("folder", root=str(root), image_size_pixels=24, **changes))


def test_train_and_test_folders_with_seeded_validation(tmp_path: Path) -> None:
    splits = load(write_train_and_test(tmp_path), num_validation=16)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (48, 16, 16)
    assert torch.bincount(splits.validation.labels).tolist() == [4] * 4


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_an_own_validation_folder_is_used(tmp_path: Path, name: str) -> None:
    write_train_and_test(tmp_path)
    write_classes(tmp_path / name, each=2, seed=900)
    splits = load(tmp_path, num_validation=16)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (64, 8, 16)
    assert splits.validation.split == "validation"


def test_class_folders_alone_are_split_into_three(tmp_path: Path) -> None:
    write_classes(tmp_path)
    splits = load(tmp_path, num_validation=8, num_test=12)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (44, 8, 12)
    other = load(tmp_path, num_validation=8, num_test=12, split_seed=5)
    assert other.test.digest == splits.test.digest
    assert other.validation.digest != splits.validation.digest


def test_without_test_images_training_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    with pytest.raises(UsageError, match="no test images"):
        load(tmp_path)


def test_labels_follow_the_training_classes_by_name(tmp_path: Path) -> None:
    write_train_and_test(tmp_path)
    shutil.rmtree(tmp_path / "test" / "class_1")
    splits = load(tmp_path)
    assert torch.bincount(splits.test.labels, minlength=4).tolist() == [4, 0, 4, 4]
    assert splits.test.class_names == splits.train.class_names
    assert splits.test.note == "no images of 1 of the training classes: class_1"
    assert splits.train.note == ""


def test_a_class_that_training_does_not_know_is_refused(tmp_path: Path) -> None:
    write_train_and_test(tmp_path)
    (tmp_path / "test" / "class_1").rename(tmp_path / "test" / "class_9")
    with pytest.raises(DataError, match="class_9") as caught:
        load(tmp_path)
    assert str(tmp_path / "test") in caught.value.where


EMPTY = {
    "no folder": lambda root: None,
    "a file": lambda root: root.write_text("x"),
    "an empty root": lambda root: root.mkdir(),
    "pictures without classes": lambda root: (root.mkdir(), smooth_picture(0).save(root / "a.jpg")),
    "an empty class": lambda root: (
        write_train_and_test(root),
        (root / "train" / "class_9").mkdir(),
    ),
    "a class of notes": lambda root: (
        write_train_and_test(root),
        (root / "train" / "zzz").mkdir(),
        (root / "train" / "zzz" / "notes.txt").write_text("x"),
    ),
    "an empty test folder": lambda root: (write_classes(root / "train"), (root / "test").mkdir()),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_what_holds_no_images_is_refused_with_the_layout(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "images"
    EMPTY[kind](root)
    with pytest.raises(DataError) as caught:
        load(root)
    assert str(root) in caught.value.where
    assert caught.value.hint


def test_one_image_a_class_can_be_read(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", num_classes=1, each=1)
    write_classes(tmp_path / "test", num_classes=1, each=1)
    splits = load(tmp_path)
    assert splits.train.read(torch.tensor([0])).shape == (1, 24, 24, 3)


def test_hidden_and_other_files_are_not_images_and_are_counted(tmp_path: Path) -> None:
    write_train_and_test(tmp_path)
    (tmp_path / "train" / "class_0" / ".hidden.jpg").write_text("x")
    (tmp_path / "train" / "class_0" / "notes.txt").write_text("x")
    (tmp_path / "train" / "class_2" / "Thumbs.db").write_text("x")
    train = load(tmp_path).train
    assert len(train) == 64
    assert "2 hidden (class_0/.hidden.jpg, ...)" in train.describe()
    assert "1 file without an image extension (class_0/notes.txt)" in train.describe()


def test_subfolders_belong_to_their_class(tmp_path: Path) -> None:
    write_train_and_test(tmp_path)
    (tmp_path / "train" / "class_0" / "deeper").mkdir()
    smooth_picture(1).save(tmp_path / "train" / "class_0" / "deeper" / "x.png")
    assert torch.bincount(load(tmp_path).train.labels).tolist() == [17, 16, 16, 16]


def test_the_listing_does_not_depend_on_the_order_of_the_disk(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_classes(one)
    for path in sorted(one.rglob("*.jpg"), reverse=True):
        target = two / path.relative_to(one)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert list_class_folders(one).paths == list_class_folders(two).paths
    assert list_class_folders(one).digest() == list_class_folders(two).digest()


def test_class_names_are_shown_safely(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", num_classes=2)
    evil = tmp_path / "train" / "\x1b[2Jevil"
    evil.mkdir()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "\x1b" not in str(caught.value)


def test_a_bad_file_is_named_when_training_reads_it(tmp_path: Path) -> None:
    write_train_and_test(tmp_path)
    path = tmp_path / "train" / "class_1" / "0003.jpg"
    path.write_bytes(path.read_bytes()[:300])
    train = load(tmp_path, num_decode_threads=2).train
    with pytest.raises(DataError, match=r"0003\.jpg: damaged"):
        train.read(torch.arange(64))


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_any_number_of_threads_reads_the_same_pixels(tmp_path: Path, num_threads: int) -> None:
    write_train_and_test(tmp_path)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    first = load(tmp_path, num_decode_threads=1).train.read(order)
    assert torch.equal(load(tmp_path, num_decode_threads=num_threads).train.read(order), first)


def test_gray_images_can_be_asked_for(tmp_path: Path) -> None:
    train = load(write_train_and_test(tmp_path), channels=1).train
    assert train.image_shape == (24, 24, 1)
    assert train.read(torch.tensor([5])).shape == (1, 24, 24, 1)


def test_memory_stays_bounded_by_the_batch(tmp_path: Path) -> None:
    """A read allocates its batch, not the set: 64 big pictures become 64 small ones."""
    write_train_and_test(tmp_path)
    smooth_picture(1, 1200, 900).save(tmp_path / "big.jpg")
    for path in (tmp_path / "train").rglob("*.jpg"):
        shutil.copyfile(tmp_path / "big.jpg", path)
    train = load(tmp_path, num_decode_threads=2).train
    before = _peak_kilobytes()
    train.read(torch.arange(64))
    assert _peak_kilobytes() - before < 60_000  # decoded all at once they would be 207 MB


def _peak_kilobytes() -> int:
    import resource

    assert os.name == "posix"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
