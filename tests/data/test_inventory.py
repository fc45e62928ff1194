from pathlib import Path

from cnnlab.data.inventory import inspect
from tests.data.disk_formats import write_idx_set
from tests.data.settings import dataset_config


def test_a_set_that_is_there_is_counted_and_digested() -> None:
    facts = inspect(dataset_config("mnist5k"))
    assert (facts["num_train"], facts["num_validation"], facts["num_test"]) == (3500, 500, 1000)
    assert facts["class_names"] == list("0123456789")
    assert all(len(digest) == 64 for digest in facts["digests"].values())
    assert inspect(dataset_config("mnist5k")) == facts


def test_a_set_that_is_missing_says_where_it_was_looked_for(tmp_path: Path) -> None:
    facts = inspect(dataset_config("mnist", root=str(tmp_path)))
    assert not facts["present"]
    assert str(tmp_path) in facts["missing"]
    write_idx_set(tmp_path)
    assert inspect(dataset_config("mnist", root=str(tmp_path), num_validation=10))["present"]
