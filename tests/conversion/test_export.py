import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cnnlab.cli import main
from cnnlab.conversion import export as exporting
from cnnlab.errors import NumericsError, UsageError
from cnnlab.inference.network import open_network
from tests.app.test_evaluate import write_checkpoint

CPU = torch.device("cpu")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in exporting.ONNX_PACKAGES),
    reason="the export extra is not installed",
)


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    path = tmp_path_factory.mktemp("lenet") / "a.safetensors"
    return open_network(write_checkpoint(path, network="lenet5"), CPU)


@needs_onnx
def test_an_onnx_file_gives_the_networks_answers_for_any_batch(lenet, tmp_path):
    import onnxruntime

    path = tmp_path / "lenet.onnx"
    said = exporting.export(lenet, path)
    assert "the same predictions on 16 test images of mnist5k" in said
    session = onnxruntime.InferenceSession(str(path))
    pixels = torch.rand(5, 1, 32, 32) * 255
    (scores,) = session.run(None, {"images": pixels.numpy()})
    with torch.no_grad():
        own = lenet.network(lenet.preprocessing.normalize(pixels))
    assert torch.allclose(torch.from_numpy(scores), own, atol=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["cnnlab.class_names"])[3] == "3"


def cnnlab(*words):
    """Run a command in a process of its own, as users do; return what it printed."""
    command = [sys.executable, "-m", "cnnlab", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 0.25])
def test_a_trained_alexnet_answers_the_same_in_onnxruntime(width, tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.chdir(tmp_path)
    few = ["trainer.epochs=1", "trainer.limit_train_batches=1", "trainer.batch_size=4"]
    lean = ["logging.report=false", "logging.tensorboard=false", "runtime.num_threads=1"]
    words = ["model=alexnet", f"model.width={width}", "dataset.image_size_pixels=64", *few, *lean]
    cnnlab("train", *words, "hydra.run.dir=run")
    said = cnnlab("convert", "source=run", "output=alexnet.onnx")
    assert "the same predictions on 16 test images of mnist5k" in said
    stored = open_network(tmp_path / "run" / "checkpoints" / "best.safetensors", CPU)
    pixels = torch.rand(3, 1, 64, 64) * 255
    session = onnxruntime.InferenceSession("alexnet.onnx")
    (scores,) = session.run(None, {"images": pixels.numpy()})
    with torch.no_grad():
        own = stored.network(stored.preprocessing.normalize(pixels))
    assert torch.allclose(torch.from_numpy(scores), own, atol=1e-4)


@pytest.mark.skipif(exporting.importlib.util.find_spec("onnx") is not None, reason="it is there")
def test_a_missing_extra_is_named(lenet, tmp_path):
    with pytest.raises(UsageError, match=r"onnx(.|\n)*\[export\]"):
        exporting.export(lenet, tmp_path / "lenet.onnx")


def test_plain_safetensors_hold_the_weights_and_the_class_names(lenet, tmp_path):
    path = tmp_path / "weights.safetensors"
    exporting.export(lenet, path)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(lenet.network.state_dict())
        for name, tensor in lenet.network.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)
        assert json.loads(file.metadata()["cnnlab.class_names"]) == list(lenet.class_names)


def test_other_answers_are_refused_and_leave_no_file(lenet, tmp_path, monkeypatch):
    wrong = {".safetensors": lambda stored, path, images: torch.randn(len(images), 10)}
    monkeypatch.setattr(exporting, "WRITERS", wrong)
    with pytest.raises(NumericsError, match="predictions differ"):
        exporting.export(lenet, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_lists_the_known_ones(lenet, tmp_path):
    with pytest.raises(UsageError, match=r"\.onnx, \.safetensors"):
        exporting.export(lenet, tmp_path / "a.h5")


@pytest.mark.parametrize("network", ["lenet5", "linear"])
def test_plain_safetensors_of_ours_are_taken_back(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = open_network(write_checkpoint(tmp_path / "own.safetensors", network=network), CPU)
    exporting.export(own, tmp_path / "plain.bin.safetensors")
    (tmp_path / "plain.bin.safetensors").rename("plain.bin")  # known by content

    words = ["source=plain.bin", "output=back.safetensors", "dataset=mnist5k"]
    assert main(["convert", *words]) == 0

    back = open_network("back.safetensors", CPU)
    pixels = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        scores = [n.network(n.preprocessing.normalize(pixels)) for n in (own, back)]
    assert torch.equal(*scores)
    assert back.class_names == own.class_names
    assert main(["convert", "source=plain.bin", "output=o.safetensors", "model=mlp"]) == 2
    few = ["trainer.epochs=1", "trainer.limit_train_batches=1", "runtime.num_threads=1"]
    lean = ["logging.report=false", "logging.tensorboard=false"]
    train = ["train", f"model={network}", "model.weights=plain.bin", "augment=none"]
    assert main([*train, *few, *lean, "hydra.run.dir=run"]) == 0


@pytest.mark.parametrize("change", ["mean", "sizes", "nonsense"])
def test_a_plain_file_without_all_that_is_needed_is_refused(change, lenet, tmp_path, capsys):
    exporting.export(lenet, tmp_path / "plain.safetensors")
    with safe_open(tmp_path / "plain.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    if change == "nonsense":
        metadata["cnnlab.class_names"] = "7"
    else:
        del metadata[f"cnnlab.{change}"]
    save_file(tensors, tmp_path / "less.safetensors", metadata)

    words = [f"source={tmp_path / 'less.safetensors'}", f"output={tmp_path / 'o.safetensors'}"]
    assert main(["convert", *words]) == 4
    assert len(capsys.readouterr().err.splitlines()) <= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "less.safetensors",
        "plain.safetensors",
    ]
