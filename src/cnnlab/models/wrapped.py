"""Any nn.Module as a Network: its layers are found by computing one batch of images."""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from cnnlab import plugin_errors
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.geometry import ReceptiveField, whole_image
from cnnlab.models.field_tracing import FieldTracer, field_of
from cnnlab.models.network import Compute, Layer, Network, Task

ROLES: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("conv", (nn.Conv2d,)),
    ("fc", (nn.Linear,)),
    ("pool", (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)),
    ("norm", (nn.LocalResponseNorm,)),
    ("batch_norm", (nn.BatchNorm2d, nn.BatchNorm1d)),
    ("rectifier", (nn.ReLU,)),
    ("squash", (nn.Tanh, nn.Sigmoid)),
    ("dropout", (nn.Dropout, nn.Dropout1d, nn.Dropout2d)),
    ("flatten", (nn.Flatten,)),
)
OTHER = "other"
"""The role of a layer that is none of these; it is trained, saved and counted like them."""

NUM_EXAMPLES = 2


def wrap(module: nn.Module, task: Task, name: str) -> "WrappedNetwork":
    """Return a module [N,C,S,S] -> [N,K] as a network; it computes two black images for that.

    name: of the model, for messages. Raises UsageError where a layer fails on such images or the
    module returns something else; TypeError where its weights have no values. What a line of its
    author raises is left as it is.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        raise TypeError("the layers are found by computing: the weights need values")

    side = task.input_size_pixels
    images = torch.zeros(NUM_EXAMPLES, task.in_channels, side, side)
    was_training = module.training
    try:
        found = _Trace(module.eval(), images)
    except Exception as error:
        if isinstance(error, CnnlabError) or plugin_errors.place_of(error) is not None:
            raise
        first = (str(error).splitlines() or [""])[0]
        raise UsageError(
            f"model '{name}' fails on images {list(images.shape)}",
            f"{type(error).__name__}: {first}",
            "change the network, or dataset.image_size_pixels",
        ) from error
    module.train(was_training)

    wanted, scores = [NUM_EXAMPLES, task.num_classes], found.scores
    shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if shape != wanted:
        raise UsageError(
            f"model '{name}' returns {shape} for {NUM_EXAMPLES} images, not {wanted}",
            hint=f"its forward returns a score for each of the {task.num_classes} classes",
        )
    return WrappedNetwork(module, task, found)


class _Trace:
    """What one forward pass shows: the modules that were called, in order, and their fields.

    fields, inputs: receptive field and input size of each, by name; of its last call.
    """

    @torch.no_grad()
    def __init__(self, module: nn.Module, images: Tensor) -> None:
        self.fields: dict[str, ReceptiveField] = {}
        self.inputs: dict[str, list[int]] = {}
        self._names = {each: name for name, each in module.named_modules()}
        self._whole = whole_image(images.shape[-1])
        self._num_rectifiers = 0

        hooks = [each.register_forward_hook(self._note) for each in self._names]
        tracer = FieldTracer(images)
        try:
            with tracer:
                self.scores = module(images)
        finally:
            for hook in hooks:
                hook.remove()
        self.rectifies_by_function = tracer.num_rectified > self._num_rectifiers
        self.layers = self._layers(module)

    def _note(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        name = self._names[module]
        self._num_rectifiers += isinstance(module, nn.ReLU)
        self.fields.pop(name, None)  # a layer that is called again counts from there
        self.fields[name] = field_of(_first_tensor(output)) or self._whole
        first = _first_tensor(given)
        self.inputs[name] = [] if first is None else list(first.shape[1:])

    def _layers(self, module: nn.Module) -> list[str]:
        """Return the names of the layers, in the order in which they are computed.

        The smallest modules that are called; one that holds parameters beside its parts, or whose
        parts are not called themselves, is one layer. "": the whole module is.
        """
        called = list(self.fields)
        layers = {one for one in called if not any(_is_inside(other, one) for other in called)}

        for parameter, _ in module.named_parameters():
            owner = parameter.rpartition(".")[0]
            if any(owner == one or _is_inside(owner, one) for one in layers):
                continue
            around = [one for one in called if owner == one or _is_inside(owner, one)]
            whole = max(around, key=len, default="")
            layers = {one for one in layers if not _is_inside(one, whole)} | {whole}
        return [one for one in called if one in layers]


def _is_inside(name: str, other: str) -> bool:
    """Return whether a module is a part of another one, by their dotted names."""
    return name != other and (other == "" or name.startswith(f"{other}."))


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, list | tuple):
        return next((found for each in value if (found := _first_tensor(each)) is not None), None)
    return value if isinstance(value, Tensor) else None


def role_of(module: nn.Module) -> str:
    """Return the role of a layer, by the class that it is derived from."""
    return next((role for role, kinds in ROLES if isinstance(module, kinds)), OTHER)


class WrappedNetwork(Network):
    """A module of somebody's own as a Network.

    Parameters keep the names that they have in the module. `layers` are its parts; what its
    forward computes between them (an addition, F.relu) is no layer.
    """

    _whole: nn.Module

    def __init__(self, module: nn.Module, task: Task, found: _Trace) -> None:
        nn.Module.__init__(self)
        places = {name: name for name in found.layers}  # where the pass found each
        if "" in places:  # the module is one layer, which needs a name
            module, places = nn.Sequential(OrderedDict(network=module)), {"network": ""}
        self.task = task
        self._frozen = frozenset()
        self._fused_groups = self._pooling_first = ()
        self._roles = {name: role_of(module.get_submodule(name)) for name in places}
        self._fields = {name: found.fields[place] for name, place in places.items()}
        self._inputs = {name: found.inputs[place] for name, place in places.items()}
        self.rectifies_by_function = found.rectifies_by_function

        # the same parts under the same names: what moves, saves or trains this one does the module
        self.__dict__["_whole"] = module
        self._modules, self._parameters = module._modules, module._parameters
        self._buffers = module._buffers
        self._non_persistent_buffers_set = module._non_persistent_buffers_set
        self.train(module.training)

    @property
    def receptive_fields(self) -> dict[str, ReceptiveField]:
        """Return the receptive field of a unit of each layer, by layer name."""
        return dict(self._fields)

    def get_submodule(self, target: str) -> nn.Module:
        """Return a part of the module by its name, which may be that of a property of networks."""
        part: nn.Module = self._whole.get_submodule(target)
        return part if target else self

    def layer_of(self, parameter: str) -> str:
        """Return the layer of a parameter, by its name."""
        return next(name for name in self._roles if parameter.startswith(f"{name}."))

    def sizes_before(self, outputs: dict[str, list[int]]) -> dict[str, list[int]]:
        """Return the size of each layer's input, by layer name."""
        return dict(self._inputs)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode, of the module as well; frozen layers stay in theirs."""
        self._whole.train(mode)
        return super().train(mode)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of the images, as the module computes them."""
        scores: Tensor = self._whole(images)
        return scores

    def outputs(
        self, images: Tensor, compute: Compute | None = None
    ) -> Iterator[tuple[Layer, Tensor]]:
        """Yield each layer with its output, once everything is computed.

        compute: takes the place of a layer with one input.
        """
        layers = {layer.module: layer for layer in self.layers}
        found: dict[str, Tensor] = {}
        computing: list[nn.Module] = []

        def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
            if module in computing:
                return None
            if compute is not None and len(given) == 1:
                computing.append(module)
                output = compute(layers[module], given[0])
                computing.remove(module)
            if (maps := _first_tensor(output)) is not None:
                found[layers[module].name] = maps
            return output

        hooks = [module.register_forward_hook(note) for module in layers]
        try:
            self._whole(images)
        finally:
            for hook in hooks:
                hook.remove()
        yield from ((layer, found[layer.name]) for layer in self.layers if layer.name in found)

    def activations(
        self, images: Tensor, names: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs of the named layers (all when None), by name and in order."""
        wanted = self._wanted(names)
        found = {layer.name: maps for layer, maps in self.outputs(images)}
        return {name: maps for name, maps in found.items() if name in wanted}
