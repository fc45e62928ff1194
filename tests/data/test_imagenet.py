import shutil
from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.data import imagenet
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


def write_flat(root: Path) -> Path:
    """Write eight flat validation images, the devkit, and the ground truth in its numbers."""
    write_devkit(write_imagenet(root, val_layout="flat"))
    numbers = [str(NUMBER_OF[SYNSETS[label]]) for label in EXPECTED]
    truth = root / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("\n".join(numbers) + "\n")
    return truth


def image(root: Path, name: str) -> Path:
    return root / "val" / f"ILSVRC2012_val_{name}.JPEG"


NOT_THE_LIST = {
    "a gap": (lambda root: image(root, "00000003").unlink(), "ILSVRC2012_val_00000003"),
    "a copy in place of an image": (
        lambda root: image(root, "00000003").rename(image(root, "00000002 (1)")),
        "00000002 (1)",
    ),
    "a copy": (
        lambda root: shutil.copy(image(root, "00000002"), image(root, "00000002 (1)")),
        "00000002 (1)",
    ),
    "a copy with another ending": (
        lambda root: shutil.copy(image(root, "00000002"), root / "val/ILSVRC2012_val_00000002.jpg"),
        "share a row with another: ILSVRC2012_val_00000002.jpg",
    ),
    "a number without its zeros": (
        lambda root: image(root, "00000005").rename(image(root, "5")),
        "ILSVRC2012_val_5.JPEG",
    ),
    "a number beyond the list": (
        lambda root: image(root, "00000008").rename(image(root, "00000009")),
        "ILSVRC2012_val_00000009",
    ),
    "another name": (
        lambda root: image(root, "00000001").rename(root / "val" / "dog.JPEG"),
        "dog.JPEG",
    ),
    "the other year's name": (
        lambda root: image(root, "00000001").rename(root / "val" / "ILSVRC2010_val_00000001.JPEG"),
        "ILSVRC2010_val_00000001.JPEG",
    ),
}


@pytest.mark.parametrize("kind", NOT_THE_LIST)
def test_flat_images_that_are_not_those_of_the_list_are_refused(tmp_path: Path, kind: str) -> None:
    change, shown = NOT_THE_LIST[kind]
    truth = write_flat(tmp_path)
    change(tmp_path)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert shown in caught.value.what
    assert caught.value.where == str(truth)


@pytest.mark.parametrize("change", ["too few", "too many", "a blank line"])
def test_a_list_of_another_length_is_refused(tmp_path: Path, change: str) -> None:
    truth = write_flat(tmp_path)
    lines = truth.read_text().splitlines()
    changed = {
        "too few": lines[:-1],
        "too many": [*lines, "1"],
        "a blank line": ["1", "", *lines[2:]],
    }
    truth.write_text("\n".join(changed[change]))
    with pytest.raises(DataError):
        load(tmp_path)


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    truth = write_flat(tmp_path)
    truth.write_bytes(b"\xef\xbb\xbf" + truth.read_bytes().replace(b"\n", b"\r\n"))
    assert load(tmp_path).test.labels.tolist() == EXPECTED


def test_other_files_beside_flat_images_are_counted(tmp_path: Path) -> None:
    write_flat(tmp_path)
    (tmp_path / "val" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "val" / "ILSVRC2012_img_val.tar").touch()
    test = load(tmp_path).test
    assert test.labels.tolist() == EXPECTED
    assert "ILSVRC2012_img_val.tar" in test.note


def test_images_beside_validation_classes_are_refused(tmp_path: Path) -> None:
    """Sorting them into class folders was interrupted."""
    write_flat(tmp_path)
    (tmp_path / "val" / SYNSETS[0]).mkdir()
    image(tmp_path, "00000001").rename(tmp_path / "val" / SYNSETS[0] / "ILSVRC2012_val_1.JPEG")
    with pytest.raises(DataError, match="class folders and 7 images next to them"):
        load(tmp_path)


def write_solution(root: Path, rows: list[str]) -> None:
    write_imagenet(root, val_layout="flat")
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))


ROWS = [f"ILSVRC2012_val_{k:08d},{SYNSETS[label]} 1 2 3 4" for k, label in enumerate(EXPECTED, 1)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROWS[1:], "1 files have no row: ILSVRC2012_val_00000001.JPEG"),
        ([*ROWS, f"ILSVRC2012_val_00000009,{SYNSETS[0]} 1 2 3 4"], "1 rows have no file"),
        ([*ROWS, f"ILSVRC2012_val_00000002,{SYNSETS[0]} 1 2 3 4"], "different labels"),
        ([*ROWS[1:], "ILSVRC2012_val_00000001"], "a line without an image and its class"),
        (
            [*ROWS[1:], "ILSVRC2012_val_00000001,n99999999 1 2 3 4"],
            "label that training does not have",
        ),
    ],
)
def test_a_solution_list_that_does_not_fit_is_refused(
    tmp_path: Path, rows: list[str], words: str
) -> None:
    write_solution(tmp_path, rows)
    with pytest.raises(DataError, match=words):
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
    synsets = tuple((Path(__file__).parent / "synsets_2012.txt").read_text().split())
    names = imagenet.readable_names(tmp_path, synsets)
    assert names[0] == "tench"
    assert names[synsets.index("n02085620")] == "Chihuahua"
    assert names[-1] == "toilet tissue"
    assert len(set(names)) == 1000


def test_a_thousand_other_classes_keep_their_own_names(tmp_path: Path) -> None:
    """Words go by position there, so one class taken for another would shift all between."""
    synsets = (Path(__file__).parent / "synsets_2012.txt").read_text().split()
    others = tuple(sorted([*synsets[:5], "n99999999", *synsets[6:]]))
    assert imagenet.readable_names(tmp_path, others) == others
    ends_alike = (*synsets[:5], "n01498042", *synsets[6:])
    assert imagenet.readable_names(tmp_path, ends_alike) == ends_alike


def test_a_synset_with_two_descriptions_is_refused(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    (tmp_path / "synset_words.txt").write_text(f"{SYNSETS[0]} tench\n{SYNSETS[0]} goldfish\n")
    with pytest.raises(DataError, match="listed twice"):
        load(tmp_path)


def test_a_damaged_devkit_is_refused(tmp_path: Path) -> None:
    write_devkit(tmp_path)
    path = tmp_path / "data" / "meta.mat"
    assert imagenet.read_synsets(path, "ILSVRC2012_ID") == CHALLENGE_NUMBERS
    whole = path.read_bytes()
    foreign = (b"<!doctype html>" * 20, whole[:124] + b"\x00\x02IM" + whole[128:])
    too_large = whole + bytes(16 << 20)
    broken = (whole[:-20], whole[:100], b"", whole[:150] + bytes(40) + whole[190:])
    for damaged in (*broken, *foreign, too_large):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"meta\.mat"):
            imagenet.read_synsets(path, "ILSVRC2012_ID")


def test_a_missing_folder_names_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="imagenet were not found"):
        load(tmp_path)
