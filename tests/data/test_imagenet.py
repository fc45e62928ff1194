from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.data import imagenet, matlab
from cnnlab.errors import DataError
from tests.data.pictures import CHALLENGE_NUMBERS, SYNSETS, write_devkit, write_imagenet
from tests.data.settings import dataset_config

NUMBER_OF = {synset: number for number, synset in CHALLENGE_NUMBERS.items()}
EXPECTED = [0, 1, 2, 3, 0, 1, 2, 3]


def load(root: Path, name: str = "imagenet", **changes):
    return data.load(dataset_config(name, root=str(root), image_size_pixels=40, **changes))


def test_class_folders_need_no_devkit(tmp_path: Path) -> None:
    splits = load(write_imagenet(tmp_path))
    assert splits.train.class_names == SYNSETS
    assert torch.bincount(splits.train.labels).tolist() == [6] * 4
    assert sorted(splits.test.labels.tolist()) == sorted(EXPECTED)
    assert splits.test.read(torch.arange(8)).shape == (8, 40, 40, 3)


def test_a_flat_folder_is_labelled_by_ground_truth_and_devkit(tmp_path: Path) -> None:
    write_devkit(write_imagenet(tmp_path, val_layout="flat"))
    numbers = [str(NUMBER_OF[SYNSETS[label]]) for label in EXPECTED]
    truth = tmp_path / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("\n".join(numbers) + "\n")
    assert load(tmp_path).test.labels.tolist() == EXPECTED


def test_a_flat_folder_is_labelled_by_a_solution_list(tmp_path: Path) -> None:
    write_imagenet(tmp_path, val_layout="flat")
    lines = ["ImageId,PredictionString"]
    for item, label in enumerate(EXPECTED):
        lines.append(f"ILSVRC2012_val_{item + 1:08d},{SYNSETS[label]} 1 2 3 4 ")
    text = "\n".join([lines[0], *reversed(lines[1:])])  # the list has another order than the folder
    (tmp_path / "LOC_val_solution.csv").write_text(text)
    assert load(tmp_path).test.labels.tolist() == EXPECTED


def test_a_flat_folder_without_labels_says_what_to_add(tmp_path: Path) -> None:
    write_imagenet(tmp_path, val_layout="flat")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "ILSVRC2012_validation_ground_truth.txt" in caught.value.hint


def test_numbers_without_a_devkit_are_refused(tmp_path: Path) -> None:
    write_imagenet(tmp_path, val_layout="flat")
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n" * 8)
    with pytest.raises(DataError, match="no devkit"):
        load(tmp_path)


def test_too_few_labels_are_refused(tmp_path: Path) -> None:
    write_devkit(write_imagenet(tmp_path, val_layout="flat"))
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n" * 7)
    with pytest.raises(DataError, match="7 labels, 8 images"):
        load(tmp_path)


def test_the_other_years_devkit_is_refused(tmp_path: Path) -> None:
    write_devkit(write_imagenet(tmp_path), id_field="ILSVRC2010_ID")
    with pytest.raises(DataError, match="ILSVRC2012_ID"):
        load(tmp_path)
    (tmp_path / "val").rename(tmp_path / "test")
    assert load(tmp_path, "imagenet_2010").train.name == "imagenet_2010"


def test_other_classes_than_the_devkits_are_refused(tmp_path: Path) -> None:
    write_devkit(write_imagenet(tmp_path))
    (tmp_path / "train" / SYNSETS[0]).rename(tmp_path / "train" / "n00000001")
    with pytest.raises(DataError, match="classes that imagenet does not have"):
        load(tmp_path)


def test_a_missing_validation_class_does_not_shift_labels(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    for path in (tmp_path / "val" / SYNSETS[1]).iterdir():
        path.unlink()
    (tmp_path / "val" / SYNSETS[1]).rmdir()
    assert sorted(load(tmp_path).test.labels.tolist()) == [0, 0, 2, 2, 3, 3]


def test_an_unknown_validation_class_is_refused(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    (tmp_path / "val" / SYNSETS[1]).rename(tmp_path / "val" / "n99999999")
    with pytest.raises(DataError, match="n99999999"):
        load(tmp_path)


def test_class_names_become_words_where_a_list_is_there(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    lines = [
        f"{synset} {words}"
        for synset, words in zip(
            SYNSETS, ("tench, Tinca", "goldfish", "crane", "crane"), strict=True
        )
    ]
    (tmp_path / "LOC_synset_mapping.txt").write_text("\n".join(lines))
    names = load(tmp_path).train.class_names
    assert names == ("tench, Tinca", "goldfish", "crane (n02105855)", "crane (n15075141)")


def test_the_thousand_classes_of_2012_have_words_without_any_list(tmp_path: Path) -> None:
    synsets = ("n01440764", *(f"n1000{number:04d}" for number in range(998)), "n15075141")
    names = imagenet.readable_names(tmp_path, synsets)
    assert names[0] == "tench"
    assert names[-1] == "toilet tissue"
    assert len(set(names)) == 1000


def test_a_damaged_devkit_is_refused(tmp_path: Path) -> None:
    write_devkit(tmp_path)
    path = tmp_path / "data" / "meta.mat"
    assert matlab.read_synsets(path, "ILSVRC2012_ID") == CHALLENGE_NUMBERS
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:100], b"", whole[:150] + bytes(40) + whole[190:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"meta\.mat"):
            matlab.read_synsets(path, "ILSVRC2012_ID")


def test_a_missing_folder_names_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="imagenet were not found"):
        load(tmp_path)
