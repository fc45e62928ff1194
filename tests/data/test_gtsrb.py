from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.data import gtsrb
from cnnlab.errors import DataError
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
    assert "430 images: no published size" in splits.train.describe()


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
    with pytest.raises(DataError, match="1 images of the list are missing, 0 are not in it"):
        data.load(dataset_config("gtsrb", root=str(tmp_path)))


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
