"""The 2012 network on two devices, one tower on each, that exchange maps where the paper does.

One process launches the kernels of both towers; on two GPUs they run at the same time, but an
exchange makes each wait for the other: a copy is ordered on the streams of both. The state dict is
that of the grouped network on one device: tower t holds half t of dimension 0 of every weight and
bias of conv1 to fc7, fc8 is whole.
"""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from cnnlab.config.alexnets import AlexnetTwoGpuConfig
from cnnlab.errors import ResourceError, UsageError
from cnnlab.geometry import ReceptiveField
from cnnlab.models.alexnet import alexnet_two_tower
from cnnlab.models.batch_norm import BatchNorm2d
from cnnlab.models.layers import Conv2d, GroupedLinear, Linear, ScaledDropout
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.normalization import LocalResponseNorm
from cnnlab.runtime import to_device

Devices = tuple[torch.device, torch.device]
Halves = tuple[Tensor, Tensor]
"""A layer's maps or units in tower 0 and in tower 1, each on its own device."""


class SplitNetwork(Network):
    """A network whose layers compute both towers; the scores are on the first device.

    `to` changes dtype and memory format but never the devices.
    """

    def __init__(self, grouped: Network, devices: Devices) -> None:
        """Take the weights of `grouped`, which is moved to the meta device."""
        super().__init__([_split(layer, devices) for layer in grouped.layers], grouped.task)
        self.devices = devices
        self.load_state_dict(grouped.state_dict())
        self._plan = [grouped.to("meta")]  # in a list: not one of the split network's modules

    @property
    def plan(self) -> Network:
        """Return the grouped network, whose weights are on the meta device."""
        return self._plan[0]

    @property
    def receptive_fields(self) -> dict[str, ReceptiveField]:
        """Return the receptive field of a unit of each layer, by layer name."""
        return self.plan.receptive_fields

    def grouped(self) -> Network:
        """Return the same network with the same weights on the first device alone."""
        state = self.state_dict()
        network = copy.deepcopy(self.plan).to_empty(device=self.devices[0])
        network.to(dtype=state["fc8.weight"].dtype).load_state_dict(state)
        return network.train(self.training)

    def _enter(self, images: Tensor) -> Halves:
        return send(images, 0, self.devices), send(images, 1, self.devices)

    def _leave(self, maps: Tensor | Halves) -> Tensor:
        return maps if isinstance(maps, Tensor) else gather(maps, 0, self.devices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Change dtype or memory format; a device is ignored, as each tower stays on its own."""
        layout = kwargs.get("memory_format")
        words = [*args, *kwargs.values()]
        for dtype in (word for word in words if isinstance(word, torch.dtype)):
            super().to(dtype=dtype)
        return super().to(memory_format=layout) if layout is not None else self


def alexnet_two_gpu(
    config: AlexnetTwoGpuConfig, task: Task, generator: torch.Generator
) -> SplitNetwork:
    """Build the 2012 network as published on two devices, `config.devices`."""
    devices = _devices(config.devices)
    return SplitNetwork(alexnet_two_tower(config, task, generator), devices)


def _devices(names: list[str]) -> Devices:
    """Return the two devices.

    Raises UsageError for anything but two names of devices, ResourceError for a missing device.
    """
    try:
        devices = [torch.device(name) for name in names]
    except RuntimeError as error:
        raise UsageError(
            f"model.devices={names} is not a list of devices", hint="e.g. cpu, cuda:0"
        ) from error

    if len(devices) != 2:
        raise UsageError(
            f"alexnet_two_gpu has two towers, model.devices names {len(devices)} devices",
            hint="give two; the same one twice is fine",
        )

    for device in devices:
        if device.type not in ("cpu", "cuda"):
            raise UsageError(f"model.devices={names}: only cpu and cuda are supported")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ResourceError(
                f"{device} does not exist; torch sees {torch.cuda.device_count()} CUDA devices",
                hint="model=alexnet_two_tower is the same network on one device; or give a device "
                "twice: model.devices=[cuda:0,cuda:0]",
            )

    return devices[0], devices[1]


class TowerPair(nn.Module):
    """One layer as two halves, `a` on the first device and `b` on the second.

    exchange: each half sees the maps of both towers. The state dict is that of the grouped layer.
    """

    def __init__(self, halves: tuple[nn.Module, nn.Module], devices: Devices, exchange: bool):
        super().__init__()
        self.a, self.b = (half.to(device) for half, device in zip(halves, devices, strict=True))
        self.devices, self.exchange = devices, exchange
        self.register_state_dict_post_hook(_join_halves)
        self.register_load_state_dict_pre_hook(_part_halves)

    def forward(self, maps: Halves) -> Halves:
        """Return the halves of the layer's output."""
        if not self.exchange:
            return self.a(maps[0]), self.b(maps[1])
        from_b, from_a = send(maps[1], 0, self.devices, 1), send(maps[0], 1, self.devices, 0)
        return (
            self.a(torch.cat([maps[0], from_b], 1)),
            self.b(torch.cat([from_a, maps[1]], 1)),
        )


class Joined(nn.Module):
    """A layer on the first device that sees both towers; the state dict is that of the layer."""

    def __init__(self, whole: nn.Module, devices: Devices) -> None:
        super().__init__()
        self.whole, self.devices = whole.to(devices[0]), devices
        self.register_state_dict_post_hook(_drop_whole)
        self.register_load_state_dict_pre_hook(_add_whole)

    def forward(self, maps: Halves) -> Tensor:
        """Return the layer's output on the first device."""
        return self.whole(gather(maps, 0, self.devices))


class TowerDropout(nn.Module):
    """Dropout whose mask is drawn once for both towers, equal to that of the grouped network."""

    def __init__(self, whole: nn.Module, devices: Devices) -> None:
        super().__init__()
        self.whole, self.devices = whole, devices

    def forward(self, units: Halves) -> Halves:
        """Return the units times their halves of the mask."""
        like = units[0].new_ones(len(units[0]), units[0].shape[1] + units[1].shape[1])
        mask = self.whole(like)
        for_a, for_b = mask.split([half.shape[1] for half in units], 1)
        return units[0] * for_a, units[1] * send(for_b, 1, self.devices, 0)


class _Send(torch.autograd.Function):
    """Copy to the other tower's device; the gradient is copied back."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, source: int | None, target: int, devices: Devices
    ) -> Tensor:
        """Return the maps on the target's device."""
        ctx.source, ctx.devices = source, devices
        return copy_to(maps, target, devices)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradient on the source's device; images need none."""
        back = None if ctx.source is None else copy_to(gradients[0], ctx.source, ctx.devices)
        return back, None, None, None


def send(maps: Tensor, target: int, devices: Devices, source: int | None = None) -> Tensor:
    """Return the maps for tower `target`; source: the tower they come from, None for images."""
    if source is None:
        return copy_to(maps, target, devices)
    sent = _Send.apply(maps, source, target, devices)
    assert isinstance(sent, Tensor)
    return sent


def copy_to(maps: Tensor, tower: int, devices: Devices) -> Tensor:
    """Return the maps on the device of `tower`; all transfers between devices are here."""
    return to_device(maps, devices[tower])


def gather(maps: Halves, target: int, devices: Devices) -> Tensor:
    """Return both halves, concatenated on the device of `target`."""
    halves = [
        half if tower == target else send(half, target, devices, tower)
        for tower, half in enumerate(maps)
    ]
    return torch.cat(halves, 1)


def _split(layer: Layer, devices: Devices) -> Layer:
    module = layer.module
    if layer.name == "fc8":
        assert isinstance(module, Linear)
        whole = Linear(module.in_features, module.out_features)
        return Layer(layer.name, layer.role, Joined(whole, devices))
    if isinstance(module, nn.Dropout | ScaledDropout):
        return Layer(layer.name, layer.role, TowerDropout(module, devices))
    halves = (_half(layer), _half(layer))
    return Layer(layer.name, layer.role, TowerPair(halves, devices, _sees_both_towers(layer)))


def _sees_both_towers(layer: Layer) -> bool:
    module = layer.module
    if isinstance(module, Conv2d):
        return module.groups == 1 and layer.name != "conv1"  # which sees the image
    return isinstance(module, Linear)


def _half(layer: Layer) -> nn.Module:
    """Return one tower's half of a layer; its weights are filled when the state is loaded."""
    module = layer.module
    if isinstance(module, Conv2d):
        seen = module.in_channels // module.groups
        return Conv2d(seen, module.out_channels // 2, module.window)
    if isinstance(module, Linear):
        return Linear(module.in_features, module.out_features // 2)
    if isinstance(module, GroupedLinear):
        return Linear(module.in_features // 2, module.out_features // 2)
    if isinstance(module, BatchNorm2d):
        return BatchNorm2d(module.num_features // 2)
    if isinstance(module, LocalResponseNorm):
        return LocalResponseNorm(module.size, module.alpha, module.beta, module.k)
    assert not list(module.parameters()), f"{layer.name} has weights and no rule to split them"
    return module


def _join_halves(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in [key for key in state if key.startswith(f"{prefix}a.")]:
        own = name.removeprefix(f"{prefix}a.")
        first, second = state.pop(name), state.pop(f"{prefix}b.{own}")
        if first.dim():
            first = torch.cat([first, second.to(first.device)])
        state[prefix + own] = first  # a number, the updates of a statistic, is the same in both


def _part_halves(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in [key for key in state if key.startswith(prefix)]:
        own = name.removeprefix(prefix)
        whole = state.pop(name)
        halves = whole.chunk(2) if whole.dim() else (whole, whole)
        state[f"{prefix}a.{own}"], state[f"{prefix}b.{own}"] = halves


def _drop_whole(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in [key for key in state if key.startswith(f"{prefix}whole.")]:
        state[prefix + name.removeprefix(f"{prefix}whole.")] = state.pop(name)


def _add_whole(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}whole.{name.removeprefix(prefix)}"] = state.pop(name)
