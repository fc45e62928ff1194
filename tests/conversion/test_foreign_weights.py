"""AlexNet files as other programs leave them: read by content, unwrapped, never executed."""

import argparse
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from cnnlab import checkpoint, models
from cnnlab.cli import main
from cnnlab.config import choices, parse_model
from cnnlab.conversion.foreign_weights import NAMES, as_checkpoint, read
from cnnlab.conversion.inert_pickle import PLACEHOLDER_CLASSES, Inert, load_tensors
from cnnlab.errors import CheckpointError
from cnnlab.inference.network import open_network

CPU = torch.device("cpu")


def small_state() -> dict[str, torch.Tensor]:
    """torchvision's names with tensors of a few numbers: reading does not look at sizes."""
    generator = torch.Generator().manual_seed(0)
    shapes = {name: (3, 2, 1, 1) if name.endswith("weight") else (3,) for name in sorted(NAMES)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


STATE = small_state()


def within(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in STATE.items()}


def parallel() -> dict[str, torch.Tensor]:
    """DataParallel around the features alone, as the ImageNet example of PyTorch has it."""
    return {n.replace("features.", "features.module."): t for n, t in STATE.items()}


def with_state(state: dict[str, torch.Tensor], **beside: object) -> dict[str, object]:
    return {"epoch": 90, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}} | (
        beside
    )


LAYOUTS = {
    "a state dict": (STATE, ""),
    "the ImageNet example": (
        with_state(parallel(), arch="alexnet", best_acc1=torch.tensor(56.5)),
        "weights: from 'state_dict' (not used: epoch, optimizer, arch, best_acc1); names without",
    ),
    "a best accuracy of numpy's": (with_state(STATE, best=np.float64(0.5)), "'state_dict'"),
    "torchvision's references": (
        {"model": STATE, "epoch": 89, "args": argparse.Namespace(lr=0.01, output_dir=Path("o"))},
        "weights: from 'model' (not used: epoch, args)",
    ),
    "with an average of the weights": (
        {"model": STATE, "model_ema": within("module."), "epoch": 1},
        "'model' (not used: model_ema, epoch)",
    ),
    "Lightning": (
        with_state(within("net.") | {"loss.weight": torch.ones(7)}, global_step=10),
        "names without 'net.' (not used: loss.weight)",
    ),
    "DistributedDataParallel": (within("module."), "names without 'module.'"),
    "torch.compile": (within("_orig_mod."), "names without '_orig_mod.'"),
    "both, in Lightning": (
        with_state(within("model.backbone._orig_mod.module.")),
        "names without 'model.backbone.'",
    ),
    "one unknown key": ({"weights_of_mine": STATE}, "'weights_of_mine'"),
    "half precision": ({n: t.half() for n, t in STATE.items()}, "float16 converted to float32"),
    "bfloat16": ({n: t.bfloat16() for n, t in STATE.items()}, "bfloat16 converted to float32"),
    "double precision": ({n: t.double() for n, t in STATE.items()}, "float64 converted to float32"),
    "parameters": ({n: nn.Parameter(t) for n, t in STATE.items()}, ""),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_inside_what_programs_put_around_them(layout, zipped, tmp_path):
    content, said = LAYOUTS[layout]
    path = tmp_path / "weights.of-any-name"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read(path)
    assert found.tensors.keys() == NAMES
    for name, tensor in found.tensors.items():
        assert tensor.dtype is torch.float32
        assert torch.allclose(tensor, STATE[name], rtol=1e-2)
        assert "16" in said or torch.equal(tensor, STATE[name])
    assert said in found.unwrapping_note
    assert "\n" not in found.unwrapping_note
    assert bool(said) == bool(found.unwrapping_note)


def test_safetensors_are_taken_whatever_the_file_is_called(tmp_path):
    for state in (STATE, within("_orig_mod."), {n: t.half() for n, t in STATE.items()}):
        save_file(state, tmp_path / "alexnet.bin")
        assert read(tmp_path / "alexnet.bin").tensors.keys() == NAMES


def test_hyperparameters_of_lightning_do_not_matter(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning.utilities.parsing")

    class AttributeDict(dict):
        """As Lightning's: a dict whose keys are attributes."""

    AttributeDict.__module__ = module.__name__
    AttributeDict.__qualname__ = "AttributeDict"
    module.AttributeDict = AttributeDict
    for part in ("pytorch_lightning", "pytorch_lightning.utilities", module.__name__):
        monkeypatch.setitem(sys.modules, part, module)
    content = with_state(within("net."), hyper_parameters=AttributeDict(lr=0.1))
    torch.save(content, tmp_path / "last.ckpt")
    for part in ("pytorch_lightning", "pytorch_lightning.utilities", module.__name__):
        monkeypatch.delitem(sys.modules, part)
    assert read(tmp_path / "last.ckpt").tensors.keys() == NAMES


class Called:
    """Pickles as a call of whatever it is told to call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def test_the_settings_beside_the_weights_are_never_built(tmp_path, monkeypatch):
    """The file calls argparse.Namespace and pathlib.PosixPath; neither may happen."""
    content = with_state(STATE, args=argparse.Namespace(a=1), path=Called(type(Path()), "a", "b"))
    torch.save(content, tmp_path / "a.pth")

    def built(*_: object, **__: object) -> None:
        raise AssertionError("a class that the file names was called")

    monkeypatch.setattr(argparse.Namespace, "__init__", built)
    monkeypatch.setattr(argparse.Namespace, "__setattr__", built)
    loaded = load_tensors(tmp_path / "a.pth")
    assert type(loaded["args"]).__name__ == type(loaded["path"]).__name__ == "Inert"
    assert vars(loaded["args"]) == {}


def test_stand_ins_are_gone_when_the_file_is_read(tmp_path):
    torch.save(with_state(STATE, args=argparse.Namespace()), tmp_path / "a.pth")
    before = set(torch.serialization.get_safe_globals())
    read(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before
    assert {kind for kind, _ in PLACEHOLDER_CLASSES} == {dict, Inert}


def test_code_beside_the_settings_refuses_the_file(tmp_path):
    marker = tmp_path / "sprung"
    content = with_state(
        STATE, args=argparse.Namespace(hook=Called(exec, f"open({str(marker)!r}, 'w')"))
    )
    torch.save(content, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError, match=r"builtin.*exec.*do not open it"):
        read(tmp_path / "trap.pth")
    assert not marker.exists()


def test_a_whole_module_is_refused_with_what_to_do(tmp_path, capsys):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    torch.save(network, tmp_path / "whole.pth")
    assert main(["convert", f"source={tmp_path / 'whole.pth'}", "output=a.safetensors"]) == 4
    shown = capsys.readouterr().err
    assert "whole pickled module" in shown
    assert "torch.save(model.state_dict(), FILE)" in shown
    assert len(shown.strip().splitlines()) <= 3


def poisoned() -> dict[str, torch.Tensor]:
    return STATE | {"features.0.weight": torch.full((3, 2, 1, 1), float("nan"))}


REFUSED = {
    "two networks": (within("teacher.") | within("student."), "2 networks: 'teacher.', 'student.'"),
    "two state dicts": (
        {"teacher": STATE, "student": STATE},
        "several state dicts: teacher, student",
    ),
    "no state dict": ({"epoch": 3}, "not a state dict"),
    "another network": (STATE | {"features.12.weight": torch.ones(2)}, "'features.12.weight'"),
    "integers": ({n: t.int() for n, t in STATE.items()}, "not floating point"),
    "sparse": (STATE | {"features.0.weight": torch.ones(3, 2).to_sparse()}, "sparse, quantized"),
    "NaN": (poisoned(), "not finite"),
    "one number claimed a million times": (
        STATE | {"features.0.weight": torch.ones(1).expand(1_000_000)},
        "more values than the file holds",
    ),
    "names that fall together": (STATE | within("module."), "the same name"),
}


@pytest.mark.parametrize("content", REFUSED)
def test_what_is_not_one_alexnet_is_refused(content, tmp_path):
    weights, said = REFUSED[content]
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "a.pth")
    assert said in str(caught.value)


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    for damaged in (content[:-8], content[:60], content[:8] + b"{" * 300):
        (tmp_path / "a.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            read(tmp_path / "a.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A real AlexNet of four classes, saved as the ImageNet example does, in half precision."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.alexnet(weights=None, num_classes=4).eval().half().float()
    state = {
        n.replace("features.", "features.module."): t.half()
        for n, t in (network.state_dict().items())
    }
    path = tmp_path_factory.mktemp("trained") / "model_best.pth.tar"
    torch.save({"epoch": 90, "arch": "alexnet", "state_dict": state}, path)
    return network, path


def test_convert_gives_torchvisions_scores_and_says_what_was_unwrapped(trained, tmp_path, capsys):
    network, path = trained
    output = tmp_path / "a.safetensors"
    assert main(["convert", f"source={path}", f"output={output}"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "weights: from 'state_dict' (not used: epoch, arch); names without 'module.'; "
        "float16 converted to float32"
    )
    assert second.endswith("4 classes, 16 tensors")
    stored = open_network(output, CPU)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(stored.network(images), network(images))


def test_no_weight_is_drawn_to_be_replaced_by_the_file(trained, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    monkeypatch.setattr(models, "make_generator", lambda seed, purpose: generator)

    network, path = trained
    config = parse_model(choices.alone("model", "alexnet_2014"))
    found = as_checkpoint(read(path), config, str(path))

    assert torch.equal(generator.get_state(), before)
    expected = network.features[0].weight
    assert torch.equal(found.tensors["model.conv1.weight"], expected)


@pytest.mark.slow
def test_training_begins_with_such_a_file(trained, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(4):
            pixels = generator.integers(0, 256, (60, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{number}.png")
    words = ["dataset=folder", "dataset.root=own", "dataset.num_test=2", "dataset.num_validation=2"]
    fine = [f"model.weights={trained[1]}", "model.replace_head=true", "model.train_layers=head"]
    lean = ["trainer.epochs=1", "trainer.batch_size=2", "trainer.limit_train_batches=1",
            "logging.report=false", "logging.tensorboard=false", "runtime.num_threads=1",
            "logging.images_every_epochs=null", "hydra.run.dir=run"]  # fmt: skip
    code = main(["train", "model=alexnet_2014", "augment=crop", *words, *fine, *lean])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "weights: from 'state_dict' (not used: epoch, arch)" in shown.out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "done"
    saved = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.safetensors").tensors
    wanted = trained[0].state_dict()["features.0.weight"]
    assert torch.equal(saved["model.conv1.weight"], wanted)


def test_another_model_is_refused_for_such_a_file(trained, capsys):
    assert main(["train", "model=lenet5", f"model.weights={trained[1]}"]) == 2
    assert "model=alexnet_2014" in capsys.readouterr().err
