from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.data import gtsrb
from cnnlab.errors import DataError, UsageError
from tests.data.pictures import write_gtsrb
from tests.data.settings import dataset_config


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gtsrb(tmp_path_factory.mktemp("gtsrb"))


def test_43_classes_and_a_labelled_test_set(root: Path) -> None:
    splits = data.load(dataset_config("gtsrb", root=str(root)))
    assert (len(splits.train), len(splits.test)) == (430, 43)
    assert splits.test.labels.tolist() == list(range(42, -1, -1))
    assert len(splits.train.class_names) == 43
    assert splits.train.class_names[14] == "stop"
    assert splits.train.read(torch.tensor([0, 429])).shape == (2, 48, 48, 3)
    assert not splits.train.mirror_allowed


def test_validation_never_splits_a_track(root: Path) -> None:
    splits = data.build(dataset_config("gtsrb", root=str(root), num_validation=215))
    train, held = splits.train.groups.unique(), splits.validation.groups.unique()
    assert not set(train.tolist()) & set(held.tolist())
    assert len(splits.validation) == 215
    assert torch.bincount(splits.validation.labels).tolist() == [5] * 43


def test_tracks_of_two_classes_are_two_tracks(root: Path) -> None:
    splits = data.load(dataset_config("gtsrb", root=str(root)))
    assert len(splits.train.groups.unique()) == 86


def test_a_set_of_another_size_is_told(root: Path) -> None:
    splits = data.load(dataset_config("gtsrb", root=str(root)))
    assert "430 images: not a published size" in splits.train.describe()


@pytest.mark.parametrize(("num_images", "words"), [(39_209, "final"), (26_640, "2011 online")])
def test_the_published_training_sets_are_told_apart_by_their_count(
    num_images: int, words: str
) -> None:
    assert words in gtsrb.note_for(num_images)


def test_the_online_sets_folder_is_found(tmp_path: Path) -> None:
    write_gtsrb(tmp_path, tracks_each=1, frames=1, online=True)
    assert len(data.load(dataset_config("gtsrb", root=str(tmp_path))).train) == 43


def test_missing_images_of_the_list_are_told(tmp_path: Path) -> None:
    write_gtsrb(tmp_path, tracks_each=1, frames=1)
    (tmp_path / "GTSRB" / "Final_Test" / "Images" / "00007.ppm").unlink()
    with pytest.raises(DataError, match=r"1 rows have no file: 00007\.ppm"):
        data.load(dataset_config("gtsrb", root=str(tmp_path)))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_gtsrb(tmp_path, tracks_each=1, frames=1)


def test_images_that_the_list_does_not_have_are_told(small: Path) -> None:
    images = small / "GTSRB" / "Final_Test" / "Images"
    (images / "00007.ppm").rename(images / "00007 (1).PPM")
    with pytest.raises(DataError, match=r"1 files have no row: 00007 \(1\)\.PPM"):
        data.load(dataset_config("gtsrb", root=str(small)))


def test_a_list_may_begin_with_a_byte_order_mark(small: Path) -> None:
    path = small / "GT-final_test.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    test = data.load(dataset_config("gtsrb", root=str(small))).test
    assert test.labels.tolist() == list(range(42, -1, -1))


def test_a_file_with_two_labels_is_refused(small: Path) -> None:
    path = small / "GT-final_test.csv"
    path.write_text(path.read_text() + "00003.ppm;30;32;5;5;25;27;39\n")
    assert len(data.load(dataset_config("gtsrb", root=str(small))).test) == 43  # said twice alike
    path.write_text(path.read_text() + "00003.ppm;30;32;5;5;25;27;7\n")
    with pytest.raises(DataError, match=r"different labels: 00003\.ppm"):
        data.load(dataset_config("gtsrb", root=str(small)))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"Filename,ClassId\n00000.ppm,1\n", b"Filename;ClassId\na;b"]
)
def test_a_list_of_another_kind_is_refused(small: Path, content: bytes) -> None:
    (small / "GT-final_test.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        data.load(dataset_config("gtsrb", root=str(small)))
    assert "GT-final_test.csv" in caught.value.where


def test_what_is_no_image_of_the_set_is_counted(small: Path) -> None:
    images = small / "GTSRB" / "Final_Test" / "Images"
    (images / "GT-final_test.test.csv").write_text("no labels")
    (images / "thumbnails").mkdir()
    splits = data.load(dataset_config("gtsrb", root=str(small)))
    assert "GT-final_test.test.csv" in splits.test.note
    assert "1 unrelated folder" in splits.test.note
    assert "43 files without an image extension (00000/GT-00000.csv, ...)" in splits.train.note


def test_too_few_tracks_for_a_validation_part_are_refused(small: Path) -> None:
    """One track per sign: held out, it would leave its class without training images."""
    with pytest.raises(UsageError, match="every class keeps one for training") as caught:
        data.build(dataset_config("gtsrb", root=str(small), num_validation=4))
    assert "only one in speed limit 20" in caught.value.where


def test_a_missing_class_or_label_list_is_told(tmp_path: Path) -> None:
    write_gtsrb(tmp_path, tracks_each=1, frames=1)
    (tmp_path / "GT-final_test.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(DataError, match=r"GT-final_test\.csv was not found"):
        data.load(dataset_config("gtsrb", root=str(tmp_path)))
    (tmp_path / "elsewhere.csv").rename(tmp_path / "GT-final_test.csv")
    for path in (tmp_path / "GTSRB" / "Final_Training" / "Images" / "00017").glob("*.ppm"):
        path.unlink()
    with pytest.raises(DataError, match="1 classes without images: 00017"):
        data.load(dataset_config("gtsrb", root=str(tmp_path)))


def test_nothing_at_all_names_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.load(dataset_config("gtsrb", root=str(tmp_path)))
    assert "Final_Training/Images" in caught.value.hint
