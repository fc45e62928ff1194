"""A network as a sequence of named layers, each with its role."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from cnnlab.cpu import fusion
from cnnlab.errors import UsageError
from cnnlab.geometry import ReceptiveField, whole_image
from cnnlab.models.layers import Conv2d, window_of
from cnnlab.models.pooling import MaxPool2d


@dataclass(frozen=True)
class Task:
    """The sizes a network is built for: [N, C, S, S] images -> [N, K] scores."""

    in_channels: int
    input_size_pixels: int
    num_classes: int

    def __post_init__(self) -> None:
        """Raise UsageError for sizes that no network can have."""
        for name, least in (("in_channels", 1), ("input_size_pixels", 1), ("num_classes", 2)):
            if (value := getattr(self, name)) < least:
                raise UsageError(f"a network needs {name} of at least {least}, got {value}")


@dataclass(frozen=True)
class Layer:
    """One named layer.

    role: conv, fc, rbf (with weights); pool, subsample (smaller maps); norm (response
    normalization), batch_norm; rectifier (ReLU), squash (tanh, sigmoid); dropout; flatten.
    """

    name: str
    role: str
    module: nn.Module


Compute = Callable[[Layer, Any], Tensor]
"""(layer, its input) -> its output, computed in another way than the layer would."""


class Network(nn.Module):
    """A sequence of named layers.

    [N, C, S, S] float images -> [N, K] scores, larger = better. Parameters are called
    `<layer name>.<parameter>`. Summary, pictures and the deconvnet depend on `layers` alone.
    """

    rectifies_by_function = False
    """Whether some rectifier is no layer: a backward rule of one's own cannot reach it."""

    def __init__(self, layers: Sequence[Layer], task: Task) -> None:
        super().__init__()
        self.task = task
        self._roles = {layer.name: layer.role for layer in layers}
        self._frozen: frozenset[str] = frozenset()
        assert len(self._roles) == len(layers), "layer names must differ"
        for layer in layers:
            self.add_module(layer.name, layer.module)
        modules = {layer.name: layer.module for layer in layers}
        convolutions, pools = (nn.Conv2d, Conv2d), (nn.MaxPool2d, MaxPool2d)
        self._fused_groups = fusion.fused_groups(modules, convolutions, pools)
        self._pooling_first = fusion.pooling_first(modules, pools)

    @property
    def in_channels(self) -> int:
        """Return the channels of the images."""
        return self.task.in_channels

    @property
    def input_size_pixels(self) -> int:
        """Return the height and width of the images."""
        return self.task.input_size_pixels

    @property
    def num_classes(self) -> int:
        """Return the number of scores."""
        return self.task.num_classes

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the layers in the order of the forward pass."""
        return tuple(
            Layer(name, role, self.get_submodule(name)) for name, role in self._roles.items()
        )

    @property
    def receptive_fields(self) -> dict[str, ReceptiveField]:
        """Return the receptive field of a unit of each layer, by layer name."""
        field, fields = ReceptiveField(), {}
        for layer in self.layers:
            if layer.role in ("flatten", "fc", "rbf"):
                field = whole_image(self.input_size_pixels)
            elif (window := window_of(layer.module)) is not None:
                field = field.through(window)
            fields[layer.name] = field
        return fields

    @property
    def weighted(self) -> tuple[str, ...]:
        """Return the names of the layers with parameters, in order."""
        layers = self.layers
        return tuple(
            layer.name for layer in layers if next(layer.module.parameters(), None) is not None
        )

    @property
    def frozen(self) -> frozenset[str]:
        """Return the names of the frozen layers, which training does not change."""
        return self._frozen

    def freeze(self, names: Collection[str]) -> None:
        """Freeze exactly these layers: neither parameters nor running statistics change."""
        self._frozen = frozenset(names)
        for layer in self.layers:
            layer.module.requires_grad_(layer.name not in self._frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of the images; some layers are fused on a CPU, or change places."""
        maps = self._enter(images)

        groups = self._groups_for(maps)
        if groups and not fusion.have_hooks(self._modules.values()):  # type: ignore[arg-type]
            for names, compute in groups:
                maps = compute(maps, [self._modules[name] for name in names])  # type: ignore[misc]
            return self._leave(maps)

        for name in self._roles:
            maps = self._modules[name](maps)  # type: ignore[misc]
        return self._leave(maps)

    def _groups_for(self, maps: Any) -> tuple[fusion.FusedGroup, ...]:
        """Return the groups of layers in which these maps are computed faster; else none."""
        if fusion.is_faster_for(maps):
            return self._fused_groups
        return self._pooling_first if fusion.is_on_gpu(maps) else ()

    def parted(self) -> tuple["Network", "Network"]:
        """Return the layers that make an image's features, flattening included, and the rest.

        Both are networks of the same modules; one after the other they compute the same.
        """
        names = list(self._roles)
        place = list(self._roles.values()).index("flatten") + 1
        features, rest = self._part(names[:place]), self._part(names[place:])
        features._forward_hooks, rest._forward_pre_hooks = OrderedDict(), OrderedDict()
        return features, rest

    def _part(self, names: Sequence[str]) -> "Network":
        part = copy.copy(self)
        part._roles = {name: self._roles[name] for name in names}
        part._modules = {name: self._modules[name] for name in names}
        for groups in ("_fused_groups", "_pooling_first"):
            whole = getattr(self, groups)
            setattr(part, groups, tuple(g for g in whole if g.names[0] in part._roles))
        return part

    @property
    def plan(self) -> "Network":
        """Return the network on one device with the same layers: itself, unless it is split."""
        return self

    def _enter(self, images: Tensor) -> Any:
        """Return the input of the first layer."""
        return images

    def _leave(self, maps: Any) -> Tensor:
        """Return a layer's output as one tensor."""
        assert isinstance(maps, Tensor)
        return maps

    def activations(
        self, images: Tensor, names: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs of the named layers (all when None), by name and in order.

        The forward pass ends with the last of them.
        """
        wanted = self._wanted(names)
        maps = self._enter(images)
        found: dict[str, Tensor] = {}
        for name in self._roles:
            if len(found) == len(wanted):
                break
            maps = self._modules[name](maps)  # type: ignore[misc]
            if name in wanted:
                found[name] = self._leave(maps)
        return found

    def _wanted(self, names: Collection[str] | None) -> set[str]:
        """Return the names of the layers asked for; raise UsageError for one that there is not."""
        wanted = set(self._roles if names is None else names)
        if unknown := sorted(wanted - self._roles.keys()):
            raise UsageError(
                f"the network has no layer '{unknown[0]}'", hint=f"it has: {', '.join(self._roles)}"
            )
        return wanted

    def outputs(
        self, images: Tensor, compute: Compute | None = None
    ) -> Iterator[tuple[Layer, Tensor]]:
        """Yield each layer with its output, as it is computed.

        compute: what computes an output in place of the layer itself.
        """
        maps = images
        for layer in self.layers:
            maps = layer.module(maps) if compute is None else compute(layer, maps)
            yield layer, maps

    def layer_of(self, parameter: str) -> str:
        """Return the layer of a parameter: conv1 of conv1.weight, and of conv1.a.weight."""
        return parameter.partition(".")[0]

    def sizes_before(self, outputs: dict[str, list[int]]) -> dict[str, list[int]]:
        """Return the size of each layer's input, by layer name, from those of the outputs."""
        first = [self.in_channels, self.input_size_pixels, self.input_size_pixels]
        return dict(zip(outputs, [first, *outputs.values()], strict=False))
