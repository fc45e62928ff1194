"""The 2012 network as grouped convolutions on one device and split over two."""

from copy import deepcopy
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cnnlab import models, runtime
from cnnlab.config import parse_model, to_plain
from cnnlab.config.earlier import completed
from cnnlab.config.models import ModelConfig
from cnnlab.errors import ResourceError, UsageError
from cnnlab.models import towers
from cnnlab.models.summary import summarize, summarize_unbuilt

TASK = {"size": 64, "classes": 10}
NARROW = {"width": 0.125}
CPUS = {"devices": ["cpu", "cpu"]}
PUBLISHED = {
    "conv1": 34_944,
    "conv2": 307_456,
    "conv3": 885_120,
    "conv4": 663_936,
    "conv5": 442_624,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
    "fc8": 4_097_000,
}


def test_published_network_has_the_parameters_of_the_table(build):
    summary = summarize(build("alexnet_two_tower"))
    counts = {row.name: row.num_parameters for row in summary.rows if row.num_parameters}
    assert counts == PUBLISHED
    assert summary.num_parameters == 60_965_224
    assert round(summary.num_multiply_adds / 1e6, 1) == 724.4


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({"conv6": True}, 61_555_304),  # 3x3 x 256 x 256 + 256 more
        ({"exchange": "none"}, 81_591_720),  # the author's run 150, of layers twice as wide
        ({"exchange": "fc6"}, 60_522_856),  # 192 x 128 x 3x3 less in each tower of conv3
        ({"without_layers": ["conv3"]}, 60_301_288),
    ],
)
def test_a_switch_changes_the_parameters_by_what_its_layer_file_says(build, changes, total):
    summary = summarize_unbuilt(lambda: build("alexnet_two_tower", **changes))
    assert summary.num_parameters == total


def test_the_half_network_keeps_conv5_and_the_fully_connected_layers(build):
    summary = summarize_unbuilt(lambda: build("alexnet", half_kernels=True))
    counts = {row.name: row.num_parameters for row in summary.rows if row.num_parameters}
    fully_connected = {name: PUBLISHED[name] for name in ("fc6", "fc7", "fc8")}
    halved = {"conv1": 17_472, "conv2": 153_728, "conv3": 221_376, "conv4": 331_968}
    assert counts == halved | {"conv5": 442_624} | fully_connected
    assert summary.num_parameters == 59_798_312


OWN = {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2, "fc6": 1, "fc7": 1, "fc8": 1}
"""Of how many groups of maps each layer is made when the towers exchange at conv3."""


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({}, {}),
        ({"without_layers": ["conv3"]}, {"conv3": None, "conv4": 1}),
        ({"without_layers": ["conv3", "conv4"]}, {"conv3": None, "conv4": None, "conv5": 1}),
        ({"without_layers": ["conv4"]}, {"conv4": None}),
        ({"exchange": "fc6"}, {"conv3": 2}),
        ({"exchange": "fc6", "without_layers": ["conv3"]}, {"conv3": None}),
        ({"exchange": "none"}, {"conv3": 2, "fc6": 2, "fc7": 2}),
        ({"conv6": True}, {"conv6": 1}),
        ({"conv6": True, "exchange": "fc6"}, {"conv3": 2, "conv6": 2}),
    ],
)
def test_a_layer_sees_its_own_tower_or_both(build, changes, other):
    network = build("alexnet_two_tower", **TASK, **NARROW, **changes)
    layers = [layer for layer in network.layers if layer.role in ("conv", "fc")]
    seen = {layer.name: getattr(layer.module, "groups", 1) for layer in layers}
    assert seen == {name: groups for name, groups in (OWN | other).items() if groups}
    norms = [layer.module.groups for layer in network.layers if layer.role == "norm"]
    assert norms == [2, 2]


@pytest.fixture
def narrow(monkeypatch):
    """Make fc6 and fc7 narrow, for speed."""
    monkeypatch.setattr(import_module("cnnlab.models.alexnet"), "HIDDEN_UNITS", 128)


def pair_of(build, dtype, **changes):
    small = {**TASK, "width": 0.25, **changes}
    grouped = build("alexnet_two_tower", **small).to(dtype)
    split = build("alexnet_two_gpu", **small, **CPUS).to(dtype)
    return grouped, split


def one_step(network, optimizer, step, dtype):
    """Return scores, loss and all gradients (under the grouped network's names) of one update."""
    generator = torch.Generator().manual_seed(step)
    images = 50 * torch.randn(4, 3, 64, 64, generator=generator, dtype=dtype)
    optimizer.zero_grad()
    torch.default_generator.manual_seed(step)  # dropout
    scores = network(images)
    loss = F.cross_entropy(scores, torch.arange(4))
    loss.backward()
    gradients = {f"gradient.{name}": value for name, value in gradients_of(network).items()}
    optimizer.step()
    return {"scores": scores.detach(), "loss": loss.detach()} | gradients


def gradients_of(network):
    """Return the gradients under the names of the state dict: saved as if they were the weights."""
    copy = deepcopy(network)
    for parameter, original in zip(copy.parameters(), network.parameters(), strict=True):
        parameter.data = original.grad
    return copy.state_dict()


def distances(found, wanted):
    assert found.keys() == wanted.keys()
    return {name: relative_distance(found[name].double(), wanted[name].double()) for name in wanted}


def is_bias_of_convolution(name):
    return "conv" in name and name.endswith("bias")


def relative_distance(found, wanted):
    return ((found - wanted).norm() / wanted.norm().clamp_min(1e-30)).item()


@pytest.mark.parametrize(("dropout", "scaling"), [(0.0, "test"), (0.5, "test"), (0.5, "train")])
def test_split_equals_grouped_through_five_steps_in_float64(narrow, build, dropout, scaling):
    changes = {"dropout": dropout, "dropout_scaling": scaling, "initialization": "kaiming"}
    networks = pair_of(build, torch.float64, **changes)
    optimizers = [torch.optim.SGD(n.parameters(), 1e-4, momentum=0.9) for n in networks]
    for step in range(5):
        results = [
            one_step(network, optimizer, step, torch.float64)
            for network, optimizer in zip(networks, optimizers, strict=True)
        ]
        assert max(distances(results[1], results[0]).values()) < 1e-10
        states = [network.state_dict() for network in networks]
        assert max(distances(states[1], states[0]).values()) < 1e-10


def test_split_equals_grouped_from_the_same_weights_in_float32(narrow, build):
    networks = pair_of(build, torch.float32, dropout=0.0)
    results = [
        one_step(network, torch.optim.SGD(network.parameters(), 0.01), 0, torch.float32)
        for network in networks
    ]
    apart = distances(results[1], results[0])
    assert apart["scores"] < 1e-6
    assert apart["loss"] < 1e-6
    assert max(apart.values()) < 1e-5


def test_state_dicts_are_interchangeable_without_loss(narrow, build):
    grouped = build("alexnet_two_tower", seed=1, **TASK)
    split = build("alexnet_two_gpu", seed=2, **TASK, **CPUS)
    assert list(split.state_dict()) == list(grouped.state_dict())
    split.load_state_dict(grouped.state_dict())
    back = split.grouped()
    for name, value in grouped.state_dict().items():
        assert torch.equal(split.state_dict()[name], value)
        assert torch.equal(back.state_dict()[name], value)


def test_same_seed_gives_both_forms_the_same_weights(narrow, build):
    grouped, split = pair_of(build, torch.float32)
    for name, value in grouped.state_dict().items():
        assert torch.equal(split.state_dict()[name], value)


def test_settings_of_the_split_form_become_those_of_one_device(configure, build):
    config = models.on_one_device(configure("alexnet_two_gpu", dropout=0.25))
    assert config == configure("alexnet_two_tower", dropout=0.25)
    assert models.on_one_device(configure("lenet5")) == configure("lenet5")


def test_summary_and_activations_of_the_split_form_are_those_of_the_grouped(narrow, build):
    grouped, split = pair_of(build, torch.float64)
    assert summarize(split) == summarize(grouped)
    assert split.receptive_fields == grouped.receptive_fields
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    found, wanted = split.eval().activations(images), grouped.eval().activations(images)
    assert max(distances(found, wanted).values()) < 1e-10


SWITCHES = [
    {"exchange": "none"},
    {"exchange": "fc6"},
    {"conv6": True},
    {"without_layers": ["conv3"]},
    {"exchange": "none", "conv6": True, "without_layers": ["conv4", "fc7"]},
    {"normalization": "batch"},
]


@pytest.mark.parametrize("changes", SWITCHES)
def test_split_equals_grouped_with_every_switch(build, changes):
    networks = pair_of(build, torch.float64, **NARROW, **changes)
    optimizers = [torch.optim.SGD(n.parameters(), 1e-4, momentum=0.9) for n in networks]
    for step in range(2):
        grouped, split = (
            one_step(network, optimizer, step, torch.float64) | network.state_dict()
            for network, optimizer in zip(networks, optimizers, strict=True)
        )
        far = distances(split, grouped)
        if "normalization" in changes:  # a bias before it has a gradient of 0, but for rounding
            far = {name: value for name, value in far.items() if not is_bias_of_convolution(name)}
        assert max(far.values()) < 1e-10
    assert summarize(networks[1]) == summarize(networks[0])


def test_an_exchange_that_changes_nothing_is_refused(configure):
    alone = {"exchange": "fc6", "without_layers": ["conv3", "conv4", "conv5"]}
    with pytest.raises(UsageError, match=r"model\.exchange=fc6 has no effect"):
        configure("alexnet_two_tower", **alone)
    assert configure("alexnet_two_tower", **alone, conv6=True).exchange == "fc6"


def test_a_network_stored_without_conv3_opens_as_it_was_trained(build, configure):
    plain = to_plain(configure("alexnet_two_tower", **NARROW, without_layers=["conv3"]))
    for key in ("exchange", "conv6"):
        del plain[key]
    config = parse_model(completed(ModelConfig, plain))
    opened = models.build(config, in_channels=3, input_size_pixels=64, num_classes=10, seed=0)

    assert opened.conv4.groups == 2
    today = build("alexnet_two_tower", **TASK, **NARROW, without_layers=["conv3"])
    assert opened.conv4.weight.shape != today.conv4.weight.shape


@pytest.mark.parametrize("removed", ["conv2", "conv3", "conv4", "conv5", "fc6", "fc7"])
def test_split_follows_the_switches(narrow, build, removed):
    changes = {"without_layers": [removed], "activation": "tanh", "order": "source"}
    grouped, split = pair_of(build, torch.float64, **changes)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    apart = distances({"s": split.eval()(images)}, {"s": grouped.eval()(images)})
    assert apart["s"] < 1e-10


def test_moving_the_split_form_changes_type_but_no_device(narrow, build):
    split = build("alexnet_two_gpu", **TASK, **CPUS)
    assert split.to(torch.device("meta")).fc8.whole.weight.device.type == "cpu"
    assert split.to("cpu", torch.float64).conv1.a.weight.dtype == torch.float64


@pytest.mark.parametrize("names", [["cpu"], ["cpu", "cpu", "cpu"], []])
def test_another_number_of_devices_is_refused(narrow, build, names):
    with pytest.raises(UsageError, match=f"names {len(names)} devices"):
        build("alexnet_two_gpu", devices=names, **TASK)


def test_what_is_no_device_is_refused(narrow, build):
    with pytest.raises(UsageError, match="not a list of devices"):
        build("alexnet_two_gpu", devices=["cpu", "gpu7"], **TASK)


@pytest.mark.parametrize("name", ["mps", "meta", "xpu:0"])
def test_other_kinds_of_devices_are_refused(narrow, build, name):
    with pytest.raises(UsageError, match="only cpu and cuda are supported"):
        build("alexnet_two_gpu", devices=["cpu", name], **TASK)


def test_a_missing_gpu_is_refused_with_the_way_out(narrow, build):
    with pytest.raises(ResourceError, match="alexnet_two_tower"):
        build("alexnet_two_gpu", devices=["cpu", "cuda:99"], **TASK)


class TowerTags(TorchDispatchMode):
    """Tag every tensor with the tower whose device would hold it, by its storage.

    An operation on tensors of both towers is what one device would hide: it fails. Tensors without
    a tag (constants, labels) mix with both. All tensors are kept, so that no address is used twice.
    """

    def __init__(self):
        super().__init__()
        self.tags, self.kept, self.crossings = {}, [], 0

    def tag(self, tensor, tower):
        self.kept.append(tensor)
        self.tags[tensor.untyped_storage().data_ptr()] = tower

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        owners = {self.tags.get(x.untyped_storage().data_ptr()) for x in inputs} - {None}
        assert len(owners) < 2, f"{func} mixes the towers outside an exchange"
        outputs = func(*args, **kwargs)
        for output in tree_leaves(outputs):
            if isinstance(output, torch.Tensor):
                self.kept.append(output)
                if owners and output.numel():
                    self.tag(output, *owners)
        return outputs


@pytest.fixture
def tags(monkeypatch):
    """Let every copy between towers make a new tensor, tagged with where it goes."""
    mode = TowerTags()

    def copy_to(maps, tower, devices):
        copied = maps.clone()
        mode.tag(copied, tower)
        mode.crossings += 1
        return copied

    monkeypatch.setattr(towers, "copy_to", copy_to)
    return mode


def train_tagged(split, tags):
    for name, parameter in split.named_parameters():
        tags.tag(parameter.data, 1 if ".b." in name else 0)
    images = torch.randn(2, 3, 64, 64)
    with tags:
        F.cross_entropy(split(images), torch.arange(2)).backward()


@pytest.mark.parametrize(
    ("changes", "exchanges"),
    [
        ({}, 3),  # conv3, fc6, fc7
        ({"without_layers": ["conv3"]}, 3),  # conv4 in place of conv3
        ({"conv6": True}, 4),
        ({"exchange": "fc6"}, 2),
        ({"exchange": "fc6", "conv6": True}, 2),
        ({"exchange": "none"}, 0),
        ({"normalization": "batch"}, 3),
    ],
)
def test_towers_mix_nowhere_but_in_the_papers_exchanges(narrow, build, tags, changes, exchanges):
    split = build("alexnet_two_gpu", **TASK, **CPUS, **NARROW, **changes)
    train_tagged(split, tags)
    # images to both; forward: both ways into each exchange, one way into fc8 and for each of two
    # dropout masks (3); backward: each of these but the masks, whose gradient nobody needs
    assert tags.crossings == 2 + 2 * exchanges + 3 + 2 * exchanges + 1
    assert all(p.grad is not None for p in split.parameters())


def test_a_missing_transfer_is_noticed(narrow, build, tags, monkeypatch):
    split = build("alexnet_two_gpu", **TASK, **CPUS)
    monkeypatch.setattr(towers, "send", lambda maps, *_: maps)
    with pytest.raises(AssertionError, match="mixes the towers"):
        train_tagged(split, tags)


def test_an_exchange_too_many_is_noticed(narrow, build, tags):
    split = build("alexnet_two_gpu", **TASK, **CPUS)
    split.relu4.forward = lambda maps: (maps[0] + maps[1], maps[1])
    with pytest.raises(AssertionError, match="mixes the towers"):
        train_tagged(split, tags)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_split_runs_with_one_gpu_given_twice(narrow, build, dtype):
    runtime.configure(torch.device("cuda:0"), precision="fp32")  # torch's own has TF32 in it
    grouped = build("alexnet_two_tower", **TASK, dropout=0.0).to("cuda")
    split = build("alexnet_two_gpu", **TASK, dropout=0.0, devices=["cuda:0", "cuda:0"])
    images = 50 * torch.randn(4, 3, 64, 64, device="cuda")
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        scores, wanted = split(images), grouped(images)
    nn.functional.cross_entropy(scores.float(), torch.arange(4, device="cuda")).backward()
    assert distances({"s": scores}, {"s": wanted})["s"] < (1e-5 if dtype == torch.float32 else 0.05)
    torch.optim.SGD(split.parameters(), 0.001).step()


@pytest.mark.two_gpu
def test_split_over_two_gpus_equals_one(narrow, build):
    grouped = build("alexnet_two_tower", **TASK, dropout=0.0).double().to("cuda:0")
    split = build("alexnet_two_gpu", **TASK, dropout=0.0, devices=["cuda:0", "cuda:1"]).double()
    optimizers = [torch.optim.SGD(n.parameters(), 1e-4, momentum=0.9) for n in (grouped, split)]
    for step in range(3):
        images = 50 * torch.randn(4, 3, 64, 64, device="cuda:0", dtype=torch.float64)
        for network, optimizer in zip((grouped, split), optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(network(images), torch.arange(4, device="cuda:0") + step).backward()
            optimizer.step()
    states = [{k: v.cpu() for k, v in n.state_dict().items()} for n in (split, grouped)]
    assert max(distances(*states).values()) < 1e-10
