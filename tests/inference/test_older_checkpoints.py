"""Checkpoints older than a setting of their model open, evaluate, export and begin runs."""

from pathlib import Path

import pytest
import torch

from cnnlab.config import choices, parse_model
from cnnlab.conversion import export
from cnnlab.inference.network import open_network
from cnnlab.trainer.starting_weights import read
from tests.app.test_evaluate import answer_of, config_for, write_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def older(tmp_path_factory) -> list[Path]:
    """Two LeNet-5 whose stored configs know nothing of `model.width`."""
    folder = tmp_path_factory.mktemp("older")
    paths = [folder / "a.safetensors", folder / "b.safetensors"]
    for seed, path in enumerate(paths):
        stored = open_network(write_checkpoint(path, network="lenet5", seed=seed), CPU).config
        del stored["model"]["width"]
        write_checkpoint(path, network="lenet5", seed=seed, config=stored)
    return paths


def test_an_older_checkpoint_opens_as_the_network_that_it_was(older) -> None:
    stored = open_network(older[0], CPU)

    assert "width" not in stored.config["model"]
    assert [len(stored.network.state_dict()[f"{n}.weight"]) for n in ("c1", "c3")] == [6, 16]


def test_older_checkpoints_are_members_of_an_ensemble(older, capsys) -> None:
    answer = answer_of(config_for(*older), capsys)

    assert len(answer["checkpoints"]) == 2
    assert answer["num_images"] == 500


def test_an_older_checkpoint_is_exported_with_what_it_was(older, tmp_path: Path) -> None:
    stored = open_network(older[0], CPU)
    said = export.export(stored, tmp_path / "weights.safetensors")

    assert "the same predictions" in said
    assert '"width": 1.0' in export.metadata(stored)["cnnlab.model"]


def test_training_begins_with_an_older_checkpoint(older) -> None:
    model = parse_model(choices.alone("model", "lenet5"))
    assert read(str(older[0]), model).model == "lenet5"
