import json
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint, data, models, run_folder, session
from cnnlab.app import evaluate as verb
from cnnlab.config import (
    DatasetConfig,
    EvaluateConfig,
    Launch,
    StoredDatasetConfig,
    choices,
)
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse
from cnnlab.data.stats import preprocessing_for
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.inference.evaluation import measure
from cnnlab.inference.result import EvaluationResult


def choice(group: str, name: str) -> dict:
    return choices.alone(group, name)


def write_checkpoint(path: Path, *, network: str = "linear", seed: int = 0, order=None, **changes):
    """Save an untrained network over mnist5k as training does; order permutes its classes."""
    plain = {
        "model": choice("model", network),
        "dataset": choice("dataset", "mnist5k"),
        "augment": choice("augment", "crop"),
    }
    dataset = parse(DatasetConfig, plain["dataset"], "dataset")
    store = data.build(dataset).train
    preprocessing = preprocessing_for(store, dataset, 1)
    sizes = {"in_channels": 1, "input_size_pixels": preprocessing.image_size_pixels}
    built = models.build(
        parse(ModelConfig, plain["model"], "model"), **sizes, num_classes=10, seed=seed
    )
    tensors, described = preprocessing.state()
    weights = dict(built.state_dict())
    names = list(store.class_names)
    if order is not None:
        names = [names[k] for k in order]
        last = list(weights)[-2:]
        weights |= {name: weights[name][order] for name in last}
    document = {
        "config": plain,
        "class_names": names,
        "seed": seed,
        "model": sizes | {"num_classes": 10},
        "input": described,
    } | changes
    tensors |= {f"model.{name}": tensor for name, tensor in weights.items()}
    checkpoint.write(path, tensors, document)
    return path


def config_for(*paths: object, **changes: object) -> EvaluateConfig:
    runtime = parse(RuntimeConfig, choice("runtime", "auto") | {"device": "cpu"}, "runtime")
    values = {
        "checkpoint": [str(path) for path in paths],
        "dataset": parse(StoredDatasetConfig, choice("dataset", "checkpoint"), "dataset"),
        "split": "validation",
        "evaluation": views("center"),
        "runtime": runtime,
        "weights": None,
        "which_weights": None,
        "batch_size": 128,
        "save_probabilities": False,
        "output": None,
        "format": "json",
        "plugins": [],
    }
    return EvaluateConfig(**(values | changes))


def views(name: str, **changes: object) -> EvaluationConfig:
    return parse(EvaluationConfig, choice("evaluation", name) | changes, "evaluation")


def measured(config: EvaluateConfig) -> EvaluationResult:
    return measure(config, session.begin(config.runtime))


def answer_of(config: EvaluateConfig, capsys: pytest.CaptureFixture) -> dict:
    assert verb.run(config, Launch(command="cnnlab evaluate")) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out)


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    order = torch.tensor([9, 1, 3, 2, 4, 5, 6, 7, 8, 0])
    return (
        write_checkpoint(folder / "a.safetensors"),
        write_checkpoint(folder / "b.safetensors", order=order),
    )


def test_the_answer_is_one_json_document_with_the_stated_keys(two_checkpoints, capsys):
    answer = answer_of(config_for(two_checkpoints[0]), capsys)
    assert list(answer) == [
        "dataset",
        "split",
        "evaluation",
        "checkpoints",
        "data_digest",
        "data_as_recorded",
        "num_images",
        "top1_error",
        "top5_error",
        "cross_entropy",
    ]
    assert (answer["dataset"], answer["split"], answer["num_images"]) == (
        "mnist5k",
        "validation",
        500,
    )
    assert answer["checkpoints"] == [str(two_checkpoints[0])]
    assert 0.5 < answer["top1_error"] <= 1  # an untrained network


def test_classes_in_another_order_are_matched_by_name(two_checkpoints, capsys):
    first, second = two_checkpoints
    alone = answer_of(config_for(first), capsys)
    permuted = answer_of(config_for(second), capsys)
    both = answer_of(config_for(first, second), capsys)
    for answer in (permuted, both):
        assert answer["top1_error"] == alone["top1_error"]
        assert answer["cross_entropy"] == pytest.approx(alone["cross_entropy"], rel=1e-6)


def test_the_text_answer_shows_the_interval(two_checkpoints, capsys):
    verb.run(config_for(two_checkpoints[0], format="text"), Launch(command=""))
    printed = capsys.readouterr().out
    assert "95 % interval" in printed
    assert "500 validation images 28x28x1 of mnist5k in 10 classes" in printed


def test_five_crops_use_the_border_of_training(two_checkpoints, capsys):
    stored = answer_of(config_for(two_checkpoints[0], evaluation=views("five_crop")), capsys)
    border = choice("augment", "crop")["padding_pixels"]
    given = views("five_crop", padding_pixels=border)
    assert answer_of(config_for(two_checkpoints[0], evaluation=given), capsys) == stored
    none = views("five_crop", padding_pixels=0)
    with pytest.raises(UsageError, match="padding_pixels"):
        verb.run(config_for(two_checkpoints[0], evaluation=none), Launch(command=""))


def test_digits_are_not_mirrored(two_checkpoints):
    with pytest.raises(UsageError, match="five_crop"):
        verb.run(config_for(two_checkpoints[0], evaluation=views("ten_view")), Launch(command=""))


def test_other_classes_than_the_datas_are_refused_with_the_differences(tmp_path):
    letters = write_checkpoint(tmp_path / "a.safetensors", class_names=[*"abcdefghij"])
    with pytest.raises(DataError, match="only the checkpoint: 'a', 'b'"):
        verb.run(config_for(letters), Launch(command=""))


def test_members_with_other_classes_are_refused(tmp_path, two_checkpoints):
    letters = write_checkpoint(tmp_path / "a.safetensors", class_names=[*"abcdefghij"])
    with pytest.raises(CheckpointError, match="differ"):
        verb.run(config_for(two_checkpoints[0], letters), Launch(command=""))


@pytest.mark.parametrize("missing", ["class_names", "model", "input", "config"])
def test_an_incomplete_description_is_a_checkpoint_error(tmp_path, missing):
    broken = write_checkpoint(tmp_path / "a.safetensors", **{missing: None})
    with pytest.raises(CheckpointError):
        verb.run(config_for(broken), Launch(command=""))


def test_a_text_file_is_no_checkpoint(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError):
        verb.run(config_for(tmp_path / "notes.txt"), Launch(command=""))


def test_an_ensembles_folder_stands_for_its_members(tmp_path, capsys):
    for i in range(2):
        folder = tmp_path / "run" / "members" / f"{i}" / "checkpoints"
        folder.mkdir(parents=True)
        write_checkpoint(folder / "best.safetensors", seed=i)
    ensemble = run_folder.RunFolder(tmp_path / "run")
    ensemble.update_status(member_runs=["members/0", "members/1"])
    (tmp_path / "run" / "members" / ".ipynb_checkpoints").mkdir()

    answer = answer_of(config_for(tmp_path / "run"), capsys)

    assert [Path(path).parts[-3] for path in answer["checkpoints"]] == ["0", "1"]


def test_a_member_that_is_gone_is_not_passed_over(tmp_path):
    only = tmp_path / "run" / "members" / "00_seed4" / "checkpoints"
    only.mkdir(parents=True)
    write_checkpoint(only / "best.safetensors")
    ensemble = run_folder.RunFolder(tmp_path / "run")
    ensemble.update_status(members=2, seed=4)  # as before the members' folders were listed

    with pytest.raises(CheckpointError, match="01_seed5"):
        verb.run(config_for(tmp_path / "run"), Launch(command=""))


@pytest.mark.parametrize("name", ["../other", "/etc", "members/../../other"])
def test_a_member_outside_of_its_ensemble_is_refused(tmp_path, name):
    for folder in ("other", "run"):
        (tmp_path / folder).mkdir()
    write_checkpoint(tmp_path / "other" / "best.safetensors")
    run_folder.RunFolder(tmp_path / "run").update_status(member_runs=[name])

    with pytest.raises(CheckpointError, match="outside"):
        verb.run(config_for(tmp_path / "run"), Launch(command=""))
