"""Known networks on CIFAR-10's and ImageNet's formats: counts known before anything is run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab import checkpoint, models
from cnnlab.app import prepare
from cnnlab.config import DatasetConfig, Launch, to_plain
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.preprocessing import Preprocessing
from tests.app.test_evaluate import choice, config_for, measured, views
from tests.data.disk_formats import CIFAR10_NAMES, cifar_batch, write_cifar10
from tests.data.pictures import SYNSETS, write_imagenet
from tests.data.settings import dataset_config, prepare_config

TEST_BATCH_SEED = 5
"""write_cifar10 makes the test batch as the sixth."""


def write_linear(path: Path, dataset: DatasetConfig, names, weight, bias) -> Path:
    """Save the network scores = weight x + bias on pixels x in 0..255, [C,S,S] flattened."""
    size = dataset.image_size_pixels
    sizes = {"in_channels": 3, "input_size_pixels": size, "num_classes": len(names)}
    model = choice("model", "linear")
    network = models.build(parse(ModelConfig, model, "model"), **sizes, seed=0)
    tensors = dict(network.state_dict())
    weight_name, bias_name = tensors
    assert tensors[weight_name].shape == weight.shape
    tensors |= {weight_name: weight.float(), bias_name: bias.float()}
    preprocessing = Preprocessing(3, size, 0, torch.zeros(3), torch.ones(3))
    inputs, described = preprocessing.state()
    document = {
        "config": {
            "model": model,
            "dataset": to_plain(dataset),
            "augment": choice("augment", "none"),
        },
        "class_names": list(names),
        "model": sizes,
        "input": described,
    }
    weights = {f"model.{name}": tensor for name, tensor in tensors.items()}
    checkpoint.write(path, weights | inputs, document)
    return path


def prepared(dataset: DatasetConfig, folder: Path) -> str:
    config = prepare_config(dataset, output=str(folder), num_threads=1)
    assert prepare.run(config, Launch(command="cnnlab prepare")) == 0
    return str(folder)


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory) -> tuple[Path, DatasetConfig, list[int]]:
    """The network scores by likeness to the first test picture of each class."""
    folder = tmp_path_factory.mktemp("cifar10")
    write_cifar10(folder)
    dataset = dataset_config("cifar10", root=str(folder), num_validation=10)
    batch = cifar_batch(TEST_BATCH_SEED, 20)
    pictures = batch[b"data"].astype(np.float64) - 127.5
    weight = pictures[:10] / 1e5
    bias = -127.5 * weight.sum(1)
    expected = (pictures @ weight.T).argmax(1)
    assert expected[:10].tolist() == list(range(10))
    names = [name.decode() for name in CIFAR10_NAMES]
    path = write_linear(
        folder / "known.safetensors",
        dataset,
        names,
        torch.from_numpy(weight),
        torch.from_numpy(bias),
    )
    return path, dataset, expected.tolist()


@pytest.mark.parametrize("form", ["raw", "prepared"])
def test_cifar10_gives_the_counts_known_beforehand(cifar10, tmp_path, form):
    path, dataset, expected = cifar10
    labels = cifar_batch(TEST_BATCH_SEED, 20)[b"labels"]
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (labels, expected), 1)
    if form == "prepared":
        root = prepared(dataset, tmp_path / "store")
        dataset = dataset_config("cifar10", root=root, num_validation=10)
    answer = measured(config_for(path, dataset=dataset, split="test", batch_size=7))
    assert answer.tally.confusion.tolist() == table.tolist()
    assert answer.tally.num_images == 20


@pytest.mark.parametrize("form", ["raw", "prepared"])
@pytest.mark.parametrize("name", ["center", "ten_view"])
def test_imagenet_gives_the_counts_known_beforehand(tmp_path, form, name):
    """The network names the classes in one order whatever it sees: two images of each of four."""
    write_imagenet(tmp_path / "raw")
    sizes = {"image_size_pixels": 40, "num_validation": 0}
    dataset = dataset_config("imagenet", root=str(tmp_path / "raw"), **sizes)
    weight, bias = torch.zeros(4, 3 * 40 * 40), torch.tensor([1.0, 4.0, 3.0, 2.0])
    path = write_linear(tmp_path / "known.safetensors", dataset, SYNSETS, weight, bias)
    if form == "prepared":
        root = prepared(dataset, tmp_path / "store")
        dataset = dataset_config("imagenet", root=root, **sizes)
    chosen = views(name, **({"padding_pixels": 4} if name == "ten_view" else {}))
    config = config_for(path, dataset=dataset, split="test", evaluation=chosen, batch_size=3)
    tally = measured(config).tally
    assert (tally.num_images, tally.top1_errors, tally.top5_errors) == (8, 6, 0)
    assert tally.confusion[:, 1].tolist() == [2, 2, 2, 2]
    expected = -torch.log_softmax(bias, 0).mean()
    assert tally.cross_entropy == pytest.approx(float(expected), rel=1e-5)
