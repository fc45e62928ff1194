import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab import data
from cnnlab.data import cifar
from cnnlab.errors import DataError
from tests.data.disk_formats import (
    cifar_batch,
    cycled_labels,
    python2_pickle,
    random_pixels,
    write_cifar10,
)
from tests.data.settings import dataset_config


@pytest.mark.parametrize("inside", [True, False])
def test_batches_of_python_2_become_three_splits(tmp_path: Path, inside: bool) -> None:
    folder = write_cifar10(tmp_path)
    root = folder if inside else tmp_path
    splits = data.build(dataset_config("cifar10", root=str(root), num_validation=20))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (80, 20, 20)
    assert splits.train.class_names[3] == "cat"
    np.testing.assert_array_equal(splits.test.labels, cycled_labels(20))


def test_red_comes_first_and_rows_run_downwards(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    splits = data.build(dataset_config("cifar10", root=str(folder), num_validation=0))
    raw = random_pixels(5, 20, 3072)
    images = splits.test.read(torch.arange(20)).numpy()
    np.testing.assert_array_equal(images[7, :, :, 0].ravel(), raw[7, :1024])
    np.testing.assert_array_equal(images[7, 0, :, 2], raw[7, 2048:2080])
    assert splits.validation is None


def test_a_missing_set_names_the_files_and_the_folder(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError) as caught:
        data.build(dataset_config("cifar10", root=str(tmp_path)))
    assert str(tmp_path) in caught.value.where
    assert "dataset.download=true" in caught.value.hint


class Payload:
    """Runs a command when an ordinary unpickler meets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_batch_is_never_run(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / "was_here", tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Payload(marker)}, protocol))
    with pytest.raises(DataError, match=r"mkdir, which is not allowed"):
        cifar.read_batch(path, b"labels", 10)
    assert not marker.exists()


DAMAGED = {
    "text": b"hello",
    "nothing": b"",
    "truncated": python2_pickle(cifar_batch(0, 3))[:-40],
    "a list": python2_pickle([1, 2]),
    "no labels": python2_pickle({b"data": random_pixels(0, 3, 3072)}),
    "too few labels": python2_pickle({b"data": random_pixels(0, 3, 3072), b"labels": [1, 2]}),
    "labels in words": python2_pickle({b"data": random_pixels(0, 1, 3072), b"labels": [b"cat"]}),
    "a label of 10": python2_pickle({b"data": random_pixels(0, 1, 3072), b"labels": [10]}),
    "floats": python2_pickle({b"data": np.zeros((1, 3072)), b"labels": [1]}),
    "another width": python2_pickle({b"data": random_pixels(0, 1, 3000), b"labels": [1]}),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_batch_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(DataError, match=str(path)):
        cifar.read_batch(path, b"labels", 10)
