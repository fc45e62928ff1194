"""Splits hold class folders; what could be a split or a class is refused with both readings."""

from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.errors import DataError, UsageError
from tests.data.settings import dataset_config
from tests.data.test_entries import write_picture, write_two_classes


def load(root: Path, **changes: object):
    return data.build(dataset_config("folder", root=str(root), image_size_pixels=8, **changes))


def write_pictures(folder: Path, number: int = 3) -> None:
    for item in range(number):
        write_picture(folder / f"{item}.png")


@pytest.mark.parametrize(
    ("train", "test", "validation"),
    [
        ("Train", "Test", "Val"),
        ("TRAIN", "TEST", "VALID"),
        ("training", "testing", "validation"),
        ("train", "Testing", "Validation"),
    ],
)
def test_splits_are_known_by_any_usual_name(
    tmp_path: Path, train: str, test: str, validation: str
) -> None:
    for name in (train, test, validation):
        write_two_classes(tmp_path / name)
    write_picture(tmp_path / test / "cat" / "one_more.png")
    splits = load(tmp_path)
    assert splits.train.class_names == ("cat", "dog")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 6, 7)


@pytest.mark.parametrize("name", ["test", "Test", "testing"])
def test_holding_out_test_images_beside_a_test_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_two_classes(tmp_path / "train")
    write_two_classes(tmp_path / name)
    with pytest.raises(UsageError, match=r"dataset\.num_test=2") as caught:
        load(tmp_path, num_test=2)
    assert caught.value.where.endswith(f"/{name}")


def test_validation_images_that_need_not_be_held_out_are_told(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        write_two_classes(tmp_path / name)
    assert "num_validation=2 is not used" in load(tmp_path, num_validation=2).validation.note
    assert load(tmp_path).validation.note == ""


@pytest.mark.parametrize(
    "names", [("val", "validation"), ("test", "Test"), ("train", "training"), ("Valid", "VAL")]
)
def test_two_folders_for_one_split_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in {"train", "test", *names}:
        write_two_classes(tmp_path / name)
    with pytest.raises(DataError, match="2 folders for the") as caught:
        load(tmp_path)
    assert all(f"{name}/" in caught.value.what for name in names)


@pytest.mark.parametrize("name", ["test", "Val", "testing"])
def test_a_split_without_training_images_asks_for_them(tmp_path: Path, name: str) -> None:
    write_two_classes(tmp_path / name)
    with pytest.raises(DataError, match="train/ is missing") as caught:
        load(tmp_path, num_test=2)
    assert f"{name}/" in caught.value.what


@pytest.mark.parametrize("name", ["train", "Test", "val"])
def test_a_folder_of_images_beside_class_folders_is_a_class(tmp_path: Path, name: str) -> None:
    write_two_classes(tmp_path)
    write_pictures(tmp_path / name)
    splits = load(tmp_path, num_test=3)
    assert name in splits.train.class_names
    assert len(splits.train.class_names) == 3
    assert f"read as classes, not as splits: {name}" in splits.train.note


def test_a_split_may_hold_a_class_that_is_called_like_one(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("train", "bus"):
            write_pictures(tmp_path / split / name)
    splits = load(tmp_path)
    assert splits.train.class_names == ("bus", "train")
    assert torch.bincount(splits.test.labels).tolist() == [3, 3]


def class_with_subfolders(root: Path) -> None:
    """Classes, of which `train` keeps its images in folders; or one split and a stray folder."""
    write_pictures(root / "bus")
    write_pictures(root / "train" / "batch_1")


def split_with_loose_images(root: Path) -> None:
    write_pictures(root / "bus")
    write_two_classes(root / "train")
    write_pictures(root / "train")


def split_beside_the_classes(root: Path) -> None:
    write_two_classes(root)
    write_two_classes(root / "test")


def nothing_in_common(root: Path) -> None:
    write_pictures(root / "bus")
    write_pictures(root / "train" / "night")
    write_pictures(root / "test" / "day")


AMBIGUOUS = [
    class_with_subfolders,
    split_with_loose_images,
    split_beside_the_classes,
    nothing_in_common,
]


@pytest.mark.parametrize("write", AMBIGUOUS, ids=lambda write: write.__name__)
def test_what_could_be_a_split_or_a_class_is_refused(tmp_path: Path, write) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match="could be a split or a class") as caught:
        load(tmp_path, num_test=1)
    assert "splits: " in caught.value.hint
    assert "classes: " in caught.value.hint
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("names", [("train",), ("train", "test"), ("Train", "val", "test")])
def test_splits_without_class_folders_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write_pictures(tmp_path / name)
    with pytest.raises(DataError, match="but no class folders") as caught:
        load(tmp_path, num_test=1)
    assert all(f"{name}/" in caught.value.what for name in names)
    assert "if it is a class, " in caught.value.hint


def test_unlabeled_test_images_are_refused(tmp_path: Path) -> None:
    write_two_classes(tmp_path / "train")
    write_pictures(tmp_path / "test")
    with pytest.raises(DataError, match="images, but no class folders, in test/"):
        load(tmp_path)


def test_what_lies_beside_the_splits_is_told(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_two_classes(tmp_path / name)
    write_pictures(tmp_path / "unlabeled")
    write_picture(tmp_path / "cover.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "README.md").write_text("x")
    note = load(tmp_path).train.note
    assert "1 image outside the class folders (cover.png)" in note
    assert "2 unrelated folders (annotations, ...)" in note
    assert "1 file without an image extension (README.md)" in note


def test_one_folder_for_two_splits_is_told(tmp_path: Path) -> None:
    write_two_classes(tmp_path / "train")
    (tmp_path / "test").symlink_to("train", target_is_directory=True)
    assert "the same folder: test/, train/" in load(tmp_path).train.note.replace(
        "train/, test/", "test/, train/"
    )


def test_left_out_entries_are_told_once_where_training_images_are_held_out(tmp_path: Path) -> None:
    write_two_classes(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("x")
    splits = load(tmp_path, num_test=1, num_validation=1)
    assert "notes.txt" in splits.train.note
    assert splits.validation.note == splits.test.note == ""
    shuffled = load(tmp_path, num_test=1, permutation_seed=1).train.note
    assert "notes.txt" in shuffled
    assert "pixels permuted" in shuffled


def test_a_root_one_level_too_high_is_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_two_classes(tmp_path / "animals" / name)
    write_picture(tmp_path / "__MACOSX" / "animals" / "train" / "cat" / "._0.png")
    with pytest.raises(DataError, match="test/, train/ are inside animals/") as caught:
        load(tmp_path, num_test=1)
    assert caught.value.hint == f"dataset.root={tmp_path / 'animals'}"


def test_splits_inside_the_classes_are_refused(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for split in ("Train", "test"):
            write_pictures(tmp_path / name / split)
    with pytest.raises(DataError, match="Train/, test/ are inside cat/") as caught:
        load(tmp_path, num_test=1)
    assert "train/CLASS/" in caught.value.hint


def test_a_single_class_with_folders_is_told(tmp_path: Path) -> None:
    write_two_classes(tmp_path / "animals")
    splits = load(tmp_path, num_test=1)
    assert splits.train.class_names == ("animals",)
    assert "one class, animals/, with its images in folders" in splits.train.note
