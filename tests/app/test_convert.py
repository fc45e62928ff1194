"""torchvision's AlexNet in and out again."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torchvision

from cnnlab import checkpoint
from cnnlab.app import convert
from cnnlab.config import Launch, choices
from cnnlab.config.augment import AugmentConfig
from cnnlab.config.data import DatasetConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.config.verbs.convert import ConvertConfig
from cnnlab.conversion import foreign_weights
from cnnlab.conversion.export import write_for_torchvision
from cnnlab.errors import BusyError, CheckpointError, DataError, UsageError
from cnnlab.inference.network import open_network

CPU = torch.device("cpu")


def choice(section_class, group, name):
    return parse(section_class, choices.alone(group, name))


def settings(source, output, model="alexnet_2014", class_names=None):
    return ConvertConfig(
        source=str(source),
        output=str(output),
        which_weights=None,
        model=choice(ModelConfig, "model", model),
        dataset=choice(DatasetConfig, "dataset", "imagenet"),
        augment=choice(AugmentConfig, "augment", "none"),
        class_names=class_names,
        plugins=[],
    )


def do(*arguments, **keywords):
    return convert.run(settings(*arguments, **keywords), Launch(command="cnnlab convert"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """torchvision's network of 12 classes with random weights, and its file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.alexnet(weights=None, num_classes=12).eval()
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    return network, path


@pytest.fixture(scope="module")
def converted(weights, tmp_path_factory):
    output = tmp_path_factory.mktemp("converted") / "alexnet.safetensors"
    assert do(weights[1], output) == 0
    return output


@pytest.mark.slow
def test_converted_checkpoint_gives_torchvisions_scores_on_torchvisions_input(weights, converted):
    stored = open_network(converted, CPU)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    unit = (
        pixels / 255 - torch.tensor(foreign_weights.IMAGENET_MEAN)[:, None, None]
    ) / torch.tensor(foreign_weights.IMAGENET_STD)[:, None, None]
    ours = stored.network(stored.preprocessing.normalize(pixels))
    assert torch.allclose(ours, weights[0](unit), atol=1e-5)
    assert stored.class_names[:2] == ("class 0", "class 1")
    assert torch.equal(stored.network(unit), weights[0](unit))


@pytest.mark.slow
def test_converted_back_it_loads_strictly_into_torchvision(weights, converted, tmp_path):
    assert do(converted, tmp_path / "back.pth") == 0
    state = torch.load(tmp_path / "back.pth", weights_only=True)
    wanted = weights[0].state_dict()
    torchvision.models.alexnet(weights=None, num_classes=12).load_state_dict(state, strict=True)
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_class_names_come_from_a_file(weights, tmp_path):
    names = [f"bird {n}" for n in range(12)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    do(weights[1], tmp_path / "a.safetensors", class_names=str(tmp_path / "names.txt"))
    assert checkpoint.read(tmp_path / "a.safetensors").document["class_names"] == names
    (tmp_path / "names.txt").write_text("one\ntwo")
    with pytest.raises(DataError, match="2 different names for 12 classes"):
        do(weights[1], tmp_path / "b.safetensors", class_names=str(tmp_path / "names.txt"))


def test_a_thousand_classes_are_imagenets_and_all_different():
    names = foreign_weights.usual_names(1000)
    assert len(set(names)) == 1000
    assert names[0] == "tench"


def test_other_weights_are_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"features\.0\.bias"):
        do(tmp_path / "other.pth", tmp_path / "out.safetensors")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x04\x95"])
def test_what_is_no_weights_file_is_refused(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(CheckpointError):
        do(tmp_path / "bad.pth", tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError):
        do(tmp_path / "missing.pth", tmp_path / "out.safetensors")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError, match="plain tensors"):
        do(tmp_path / "trap.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.slow
def test_another_width_than_torchvisions_is_refused_both_ways(weights, converted, tmp_path):
    narrow = settings(weights[1], tmp_path / "narrow.safetensors")
    narrow.model = dataclasses.replace(narrow.model, width=0.5)
    with pytest.raises(UsageError, match=r"full width only, not at model\.width=0\.5"):
        convert.run(narrow, Launch(command="cnnlab convert"))
    stored = open_network(converted, CPU)
    stored.config["model"]["width"] = 0.5
    with pytest.raises(UsageError, match=r"full width only, not at model\.width=0\.5"):
        write_for_torchvision(stored, tmp_path / "narrow.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["paper", "batch"])
def test_normalization_which_torchvision_lacks_is_refused_both_ways(
    weights, converted, tmp_path, normalization
):
    other = settings(weights[1], tmp_path / "other.safetensors")
    other.model = dataclasses.replace(other.model, normalization=normalization)
    with pytest.raises(UsageError, match=f"not with model.normalization={normalization}"):
        convert.run(other, Launch(command="cnnlab convert"))
    stored = open_network(converted, CPU)
    stored.config["model"]["normalization"] = normalization
    with pytest.raises(UsageError, match=f"not with model.normalization={normalization}"):
        write_for_torchvision(stored, tmp_path / "other.pth")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_stays(weights, tmp_path):
    (tmp_path / "mine.safetensors").write_text("mine")
    with pytest.raises(BusyError):
        do(weights[1], tmp_path / "mine.safetensors")
    assert (tmp_path / "mine.safetensors").read_text() == "mine"


def test_other_models_endings_and_missing_words_are_refused(weights, tmp_path):
    with pytest.raises(UsageError, match="model=alexnet_2014"):
        do(weights[1], tmp_path / "out.safetensors", model="alexnet")
    with pytest.raises(UsageError, match="model=alexnet_2014"):
        do(weights[1], tmp_path / "out.onnx")
    empty = dataclasses.replace(settings("a", "b"), source=None)
    with pytest.raises(UsageError, match="source and output"):
        convert.run(empty, Launch(command="cnnlab convert"))
