"""Batch normalization in the AlexNets: where it is, how it starts, which statistics it uses."""

import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.config import parse_train
from cnnlab.distributed import Peers, Share
from cnnlab.errors import UsageError
from cnnlab.models.batch_norm import BatchNorm2d
from cnnlab.models.init_report import report_start
from cnnlab.trainer.assemble import assemble
from cnnlab.trainer.processes import check_statistics
from cnnlab.training.loop import TrainState
from cnnlab.visualization.deconvnet import SIGNALS, project
from tests.test_config import composed

SMALL = {"channels": 1, "size": 64, "classes": 10, "width": 0.0625, "normalization": "batch"}
MODELS = ("alexnet", "alexnet_two_tower", "alexnet_2014", "alexnet_cifar", "zfnet")


@pytest.fixture
def trained(build):
    """An AlexNet whose running statistics have moved, in eval mode."""
    network = build("alexnet_cifar", **SMALL, dropout=0.0).double().train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        network(3 * torch.randn(8, 1, 64, 64, generator=generator, dtype=torch.float64) + 1)
    return network.eval()


def images(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 64, 64, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_it_stands_between_each_convolution_and_its_activation_alone(build, name):
    roles = [layer.role for layer in build(name, **SMALL).layers]
    after = [roles[place + 1 : place + 3] for place, role in enumerate(roles) if role == "conv"]
    assert after == [["batch_norm", "rectifier"]] * 5
    assert roles.count("batch_norm") == 5
    assert "norm" not in roles


@pytest.mark.parametrize("initialization", ["paper", "source", "caffe", "kaiming", "torch"])
def test_it_starts_as_scale_1_and_shift_0_whatever_the_initialization(build, initialization):
    network = build("alexnet_2014", **SMALL, initialization=initialization)
    for number in range(1, 6):
        layer = network.get_submodule(f"norm{number}")
        assert (layer.weight == 1).all()
        assert not layer.bias.any()


def test_the_source_order_is_refused_with_it(configure):
    with pytest.raises(UsageError, match=r"no effect with model\.normalization=batch"):
        configure("alexnet", normalization="batch", order="source")


def test_an_image_gets_the_same_scores_alone_and_in_any_batch(trained):
    scores = trained(images())
    alone = torch.cat([trained(image[None]) for image in images()])
    torch.testing.assert_close(alone, scores, rtol=1e-12, atol=1e-12)


def test_a_single_value_of_a_map_trains_and_keeps_the_statistics():
    layer = BatchNorm2d(3)
    layer(torch.randn(5, 3, 2, 2))
    before = {name: value.clone() for name, value in layer.named_buffers()}
    maps = torch.randn(1, 3, 1, 1, requires_grad=True)
    output = layer(maps)
    output.sum().backward()

    assert torch.equal(output, layer.eval()(maps))
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
    assert all(torch.equal(value, before[name]) for name, value in layer.named_buffers())


def test_the_report_at_the_start_sees_what_training_sees_and_changes_nothing(build):
    network = build("alexnet_cifar", **SMALL, dropout=0.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    report = {layer.name: layer for layer in report_start(network, 50 * images().float()).layers}

    assert all(report[f"norm{number}"].std == pytest.approx(1, abs=0.01) for number in range(1, 6))
    assert report["conv1"].std > 5
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("signal", SIGNALS)
def test_it_is_projected_as_if_its_convolution_scaled_the_maps(build, trained, signal):
    folded = build("alexnet_cifar", **SMALL | {"normalization": "none"}, dropout=0.0)
    folded = folded.double().eval()
    state = {k: v for k, v in trained.state_dict().items() if not k.startswith("norm")}
    for number in range(1, 6):
        norm = trained.get_submodule(f"norm{number}")
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel, bias = f"conv{number}.weight", f"conv{number}.bias"
        state[kernel] = state[kernel] * scale[:, None, None, None]
        state[bias] = (state[bias] - norm.running_mean) * scale + norm.bias
    folded.load_state_dict(state)

    torch.testing.assert_close(folded(images()), trained(images()), rtol=1e-10, atol=1e-12)
    units = torch.zeros(4, dtype=torch.int64)
    found, wanted = (project(net, images(), "relu5", units, signal) for net in (trained, folded))
    assert wanted.abs().max() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_several_processes_are_refused(configure):
    plain, normalized = (configure("alexnet", normalization=name) for name in ("paper", "batch"))
    check_statistics(Peers(Share(0, 1)), normalized)
    check_statistics(Peers(Share(1, 2)), plain)
    with pytest.raises(UsageError, match="trains in one process"):
        check_statistics(Peers(Share(1, 2)), normalized)


TINY = (
    "model=alexnet_cifar", "model.normalization=batch", "model.width=0.0625", "augment=none",
    "dataset=synthetic", "dataset.num_train=40", "dataset.num_validation=8", "dataset.num_test=10",
    "runtime.device=cpu", "runtime.num_threads=1", "trainer.batch_size=8", "trainer.accumulate=2",
)  # fmt: skip


def test_statistics_are_those_of_each_part_of_an_accumulated_batch():
    parts = assemble(parse_train(composed("train", *TINY)), torch.device("cpu"))
    state = TrainState(parts.network.train(), parts.optimizer)
    for batch in islice(parts.batches(), 3):
        parts.step(state, *batch)
        state.step += 1

    (first,) = {int(b) for name, b in parts.network.named_buffers() if name.endswith("tracked")}
    assert first == 3 * 2


def tensors(run: Path) -> dict[str, torch.Tensor]:
    (last,) = (run / "checkpoints").glob("last*")
    return checkpoint.read(last).tensors


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [(), ("model=alexnet_two_gpu", "model.devices=[cpu,cpu]", "model.head=single")]
)
def test_a_run_resumes_with_its_statistics_and_its_test_uses_them(tmp_path, capsys, model):
    few = (*TINY, *model, "schedule=constant", "logging.report=false", "logging.tensorboard=false")
    for name, epochs in (("whole", 2), ("parts", 1)):
        words = [*few, f"trainer.epochs={epochs}", f"hydra.run.dir={tmp_path / name}"]
        assert main(["train", *words]) == 0
    assert main(["train", f"resume={tmp_path / 'parts'}", "trainer.epochs=2"]) == 0

    wanted, found = (tensors(tmp_path / name) for name in ("whole", "parts"))
    assert any(name.endswith("running_var") for name in wanted)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())

    capsys.readouterr()
    words = [f"checkpoint={tmp_path / 'whole'}", "format=json", "output=null"]
    assert main(["evaluate", *words]) == 0
    answer = json.loads(capsys.readouterr().out)["top1_error"]
    assert answer == json.loads((tmp_path / "whole" / "run.json").read_text())["test_error"]
