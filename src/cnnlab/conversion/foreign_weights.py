"""Weights trained elsewhere: a state dict in a file -> a checkpoint of cnnlab in memory.

Formats are recognized by content, not by name: torch's zip and legacy pickles, and safetensors.
What training programs put around a state dict (a dict, prefixes of names) is removed and reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab import checkpoint, models
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import to_plain
from cnnlab.config.alexnets import Alexnet2014Config
from cnnlab.config.model_settings import ModelConfig, ScalableConfig
from cnnlab.conversion.inert_pickle import load_tensors
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.files import foreign
from cnnlab.models.alexnet_2014 import TORCHVISION_NAMES, from_torchvision
from cnnlab.models.meta import without_weights
from cnnlab.preprocessing import Preprocessing
from cnnlab.safe_output import escape_control

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of pixels in 0..1, as torchvision's weights expect them."""

PREPARED_PIXELS, INPUT_PIXELS = 256, 224

WRAPPERS = frozenset({"module", "_orig_mod"})
"""Parts of a name that DataParallel and torch.compile add to the modules they wrap."""

PREFERRED = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs save the weights, in case of several state dicts."""

FIRST = f"{TORCHVISION_NAMES['conv1']}.weight"
"""The name that reveals a common prefix of all names: `net.features.0.weight`."""

NAMES = frozenset(
    f"{place}.{kind}" for place in TORCHVISION_NAMES.values() for kind in ("weight", "bias")
)
_WIDENED = (torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class ForeignWeights:
    """A state dict of torchvision's AlexNet.

    tensors: float32, by torchvision's names. unwrapped: messages on the wrappers that were removed.
    """

    tensors: dict[str, Tensor]
    unwrapped: tuple[str, ...] = ()

    @property
    def unwrapping_note(self) -> str:
        """One line about what was unwrapped, '' where nothing was."""
        return escape_control(f"weights: {'; '.join(self.unwrapped)}") if self.unwrapped else ""


def is_foreign(path: str | Path) -> bool:
    """Return whether a file is torch's or safetensors, and was not written by cnnlab."""
    found = foreign.format_of(foreign.first_bytes(path))
    return found == "torch" or (found == "safetensors" and not foreign.is_plain_of_ours(path))


def read(path: str | Path) -> ForeignWeights:
    """Return the weights of torchvision's AlexNet in a file; no code in it is executed.

    Raises CheckpointError for a file without them, or with other tensors among them.
    """
    where = escape_control(str(path))
    is_torch = foreign.format_of(foreign.first_bytes(path)) == "torch"
    found: Any = load_tensors(path) if is_torch else read_safetensors(path)

    state, taken_from = _state_dict(found, where)
    state, wrappers = _without_wrappers(state, where)
    state, prefix = _without_prefix(state, where)
    if more := sorted(state.keys() - NAMES):
        raise CheckpointError(
            f"not torchvision's AlexNet, which has no '{escape_control(more[0])}'", where
        )
    widened = {tensor.dtype for tensor in state.values() if tensor.dtype in _WIDENED}
    converted = [f"{str(dtype).removeprefix('torch.')} converted to float32" for dtype in widened]

    tensors = {name: _float32(name, tensor, where) for name, tensor in state.items()}
    return ForeignWeights(tensors, (*taken_from, *wrappers, *prefix, *converted))


def as_checkpoint(
    weights: ForeignWeights,
    model: ModelConfig,
    where: str,
    class_names: list[str] | None = None,
    sections: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Return the weights as a checkpoint to evaluate or train from, without a run's record.

    class_names: None gives ImageNet's where there are 1000 classes. sections: of the config,
    besides its model. Raises UsageError for another model, CheckpointError for weights that do not
    fit.
    """
    if not isinstance(model, Alexnet2014Config):
        raise UsageError(
            f"these are the weights of torchvision's AlexNet: model=alexnet_2014, not {model.name}",
            escape_control(where),
        )

    named = _our_names(weights.tensors, where)
    channels, classes = _sizes(named, where)
    task = {"in_channels": channels, "input_size_pixels": INPUT_PIXELS, "num_classes": classes}
    shapes = without_weights(lambda: models.build(model, **task, seed=0)).state_dict()
    target = {name: torch.empty_like(shape, device="cpu") for name, shape in shapes.items()}
    checkpoint.copy_into(target, named, where)

    names = usual_names(classes) if class_names is None else class_names
    tensors, described = _preprocessing(channels).state()
    tensors |= {f"model.{name}": value for name, value in target.items()}
    document = {
        "config": {"model": to_plain(model), **(sections or {})},
        "class_names": names,
        "model": task,
        "input": described,
        "converted_from": escape_control(Path(where).name),
        "metrics": {},
    }
    return Checkpoint(tensors, document)


def usual_names(classes: int) -> list[str]:
    """Return ImageNet's class names where there are 1000 classes, else numbered ones."""
    if classes != 1000:
        return [f"class {number}" for number in range(classes)]
    from torchvision.models import AlexNet_Weights

    return _distinct(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])


def num_classes(weights: ForeignWeights, where: str) -> int:
    """Return how many scores the network has. Raises CheckpointError."""
    return _sizes(_our_names(weights.tensors, where), where)[1]


def check_counterpart(model: ModelConfig) -> None:
    """Raise UsageError for channels and layers that torchvision's network does not have."""
    if isinstance(model, ScalableConfig) and model.width != 1:
        raise UsageError(
            f"torchvision has AlexNet at its full width only, not at model.width={model.width:g}",
            hint="output=FILE.safetensors or output=FILE.onnx take any width of cnnlab's networks",
        )
    if isinstance(model, Alexnet2014Config) and model.normalization != "none":
        raise UsageError(
            "torchvision has AlexNet without normalization only, "
            f"not with model.normalization={model.normalization}",
            hint="output=FILE.safetensors or output=FILE.onnx take any of cnnlab's networks",
        )


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Raises CheckpointError for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    where = escape_control(str(path))
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = escape_control(str(error))[:200]
        raise CheckpointError("the safetensors file is damaged", where, reason) from error


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


Unwrapped = tuple[dict[str, Tensor], list[str]]
"""A state dict without its wrapper, and a message on each wrapper that was removed."""


def _state_dict(found: Any, where: str) -> Unwrapped:
    """Return the state dict of a file, out of a training program's checkpoint if need be."""
    if _is_state_dict(found):
        return dict(found), []

    inner = found if isinstance(found, Mapping) else {}
    candidates = [str(key) for key, value in inner.items() if _is_state_dict(value)]
    preferred = [key for key in PREFERRED if key in candidates] or candidates
    if not preferred:
        raise CheckpointError("the file is not a state dict and holds none", where)
    chosen = preferred[0]
    if len(preferred) > 1 and chosen not in PREFERRED:
        raise CheckpointError(f"the file holds several state dicts: {', '.join(preferred)}", where)

    beside = [str(key) for key in inner if str(key) != chosen]
    return dict(inner[chosen]), [f"from '{chosen}'{_not_used(beside)}"]


def _without_wrappers(state: dict[str, Tensor], where: str) -> Unwrapped:
    """Remove what DataParallel and torch.compile add to names."""
    plain = {
        name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in state
    }
    named = {plain[name]: tensor for name, tensor in state.items()}
    if len(named) != len(state):
        raise CheckpointError(
            "two tensors have the same name without 'module' and '_orig_mod'", where
        )

    wrappers = {part for name in state for part in name.split(".") if part in WRAPPERS}
    return named, [f"names without '{part}.'" for part in sorted(wrappers)]


def _without_prefix(named: dict[str, Tensor], where: str) -> Unwrapped:
    """Return the tensors of the network alone where it is a part of another module."""
    prefixes = [name.removesuffix(FIRST) for name in named if name.endswith(f".{FIRST}")]
    if FIRST in named or not prefixes:
        return named, []
    if len(prefixes) > 1:
        listed = ", ".join(f"'{escape_control(prefix)}'" for prefix in prefixes)
        raise CheckpointError(
            f"the file holds {len(prefixes)} networks: {listed}", where, "save only one of them"
        )

    (prefix,) = prefixes
    other = [name for name in named if not name.startswith(prefix)]
    state = {n.removeprefix(prefix): t for n, t in named.items() if n.startswith(prefix)}
    return state, [f"names without '{prefix}'{_not_used(other)}"]


def _not_used(names: list[str]) -> str:
    return f" (not used: {', '.join(names)})" if names else ""


def _float32(name: str, tensor: Tensor, where: str) -> Tensor:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise CheckpointError(f"{name} is sparse, quantized or on the meta device", where)
    if tensor.dtype not in (*_WIDENED, torch.float32):
        raise CheckpointError(f"{name} is {tensor.dtype}, not floating point", where)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{name} claims more values than the file holds", where)
    wide = tensor.detach().float()
    if not checkpoint.is_finite(wide):
        raise CheckpointError(f"{name} holds values that are not finite", where)
    return wide


def _our_names(state: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    try:
        return from_torchvision(state)
    except KeyError as error:
        raise CheckpointError(
            f"these are not the weights of torchvision's AlexNet: {error} is missing",
            escape_control(where),
        ) from error


def _sizes(named: dict[str, Tensor], where: str) -> tuple[int, int]:
    """Return the channels of the images and the number of classes."""
    first, last = named["conv1.weight"], named["fc8.weight"]
    if first.dim() != 4 or last.dim() != 2 or len(last) < 2 or not first.shape[1]:
        raise CheckpointError("the first or last layer does not have AlexNet's shape", where)
    return int(first.shape[1]), len(last)


def _distinct(names: list[str]) -> list[str]:
    """Number repeated names: ImageNet has two cranes and two maillots."""
    return [
        name if name not in names[:place] else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]


def _preprocessing(channels: int) -> Preprocessing:
    def levels(of_unit: tuple[float, ...]) -> Tensor:
        return 255 * torch.tensor(of_unit if channels == 3 else [sum(of_unit) / 3] * channels)

    mean, std = levels(IMAGENET_MEAN), levels(IMAGENET_STD)
    return Preprocessing(channels, PREPARED_PIXELS, 0, mean, std)
