import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab import data
from cnnlab.data import idx
from cnnlab.errors import DataError
from tests.data.disk_formats import (
    IDX_NAMES,
    cycled_labels,
    idx_bytes,
    random_pixels,
    write_idx_set,
)
from tests.data.settings import dataset_config

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_four_files_become_three_splits(tmp_path: Path, name: str, zipped: bool) -> None:
    write_idx_set(tmp_path, zipped=zipped)
    splits = data.build(dataset_config(name, root=str(tmp_path), num_validation=20))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (40, 20, 20)
    pixels = splits.test.read(torch.arange(20)).numpy()
    np.testing.assert_array_equal(pixels[..., 0], random_pixels(1, 20, 28, 28))
    np.testing.assert_array_equal(splits.test.labels, cycled_labels(20))
    assert splits.test.image_shape == (28, 28, 1)


def test_digits_are_never_mirrored_but_clothes_may_be(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    for name, allowed in (("mnist", False), ("fashion_mnist", True)):
        splits = data.build(dataset_config(name, root=str(tmp_path), num_validation=10))
        assert splits.train.mirror_allowed is allowed


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not here")
def test_the_real_fashion_mnist_is_found_where_debian_puts_it() -> None:
    splits = data.build(dataset_config("fashion_mnist"))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (55000, 5000, 10000)
    assert torch.bincount(splits.test.labels).tolist() == [1000] * 10
    assert torch.bincount(splits.validation.labels).tolist() == [500] * 10


def test_names_with_a_dot_are_found_too(tmp_path: Path) -> None:
    write_idx_set(tmp_path, zipped=False)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert idx.missing_files(tmp_path) == []


def test_a_missing_set_says_what_was_looked_for_where_and_what_to_do(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    (tmp_path / f"{IDX_NAMES['test'][1]}.gz").unlink()
    with pytest.raises(DataError) as caught:
        data.build(dataset_config("mnist", root=str(tmp_path)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "mnist" in lines[0]
    assert str(tmp_path.absolute()) in lines[1]
    assert "t10k-labels-idx1-ubyte" in lines[1]
    assert "train-images" not in lines[1]
    assert "dataset.download=true" in lines[2]


def test_no_set_stands_in_for_another() -> None:
    with pytest.raises(DataError, match="mnist were not found"):
        data.build(dataset_config("mnist"))


def test_a_root_without_files_does_not_fall_back_to_the_usual_places(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fashion_mnist"):
        data.build(dataset_config("fashion_mnist", root=str(tmp_path)))


GOOD = idx_bytes(random_pixels(0, 3, 4, 5))
DAMAGED = {
    "empty": b"",
    "text": b"<html>not found</html>",
    "another magic": b"\1" + GOOD[1:],
    "floats": GOOD[:2] + b"\x0d" + GOOD[3:],
    "two dimensions": GOOD[:3] + b"\2" + GOOD[4:],
    "header alone": GOOD[:10],
    "one byte short": GOOD[:-1],
    "one byte long": GOOD + b"\0",
    "a huge count": GOOD[:4] + b"\xff\xff\xff\xff" + GOOD[8:],
    "truncated gzip": gzip.compress(GOOD)[:-9],
    "gzip with a flipped byte": bytes(
        byte ^ (0xFF if place == 40 else 0) for place, byte in enumerate(gzip.compress(GOOD))
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(DataError, match=str(path)):
        idx.read_idx(path, num_dimensions=3)


def test_labels_outside_the_classes_and_other_counts_are_refused(tmp_path: Path) -> None:
    write_idx_set(tmp_path, zipped=False)
    labels = tmp_path / IDX_NAMES["train"][1]
    labels.write_bytes(idx_bytes(np.full(60, 10, np.uint8)))
    with pytest.raises(DataError, match="labels run from 10 to 10"):
        data.build(dataset_config("mnist", root=str(tmp_path)))
    labels.write_bytes(idx_bytes(cycled_labels(59)))
    with pytest.raises(DataError, match="60 images but 59 labels"):
        data.build(dataset_config("mnist", root=str(tmp_path)))
