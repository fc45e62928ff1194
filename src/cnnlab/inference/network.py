"""Load a network from its checkpoint, with everything that was saved with it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cnnlab import checkpoint, models, plugin_errors, stored_weights
from cnnlab.config import parse_model
from cnnlab.config.ema import RAW
from cnnlab.config.own_parts import refuse_missing
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.preprocessing import Preprocessing
from cnnlab.safe_output import escape_control

_ALWAYS_ALLOWED = 1 << 20
"""Values of a tensor."""


@dataclass(frozen=True)
class StoredNetwork:
    """A network and what its checkpoint says about it.

    network: in eval mode. preprocessing: on the same device. config: the plain TrainConfig of its
    run. document: everything in the file except the tensors. which_weights: raw, or ema where the
    network has the moving average.
    """

    path: Path
    network: models.Network
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    config: dict[str, Any]
    document: dict[str, Any]
    which_weights: str = RAW

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.preprocessing.mean.device


def open_network(
    path: str | Path,
    device: torch.device,
    *,
    channels_last: bool = False,
    which_weights: str | None = None,
) -> StoredNetwork:
    """Rebuild the network of one checkpoint file; no other file is needed.

    which_weights: raw or ema; None: those that its training judged. Raises CheckpointError for a
    file that is missing, damaged, without such weights, or whose parts do not match.
    """
    loaded = checkpoint.read(path)
    refuse_missing(loaded.document.get("config"), escape_control(str(path)), "model")
    kind, weights = stored_weights.chosen(loaded, which_weights, path)
    try:
        with _NothingLargerThan(sum(weight.numel() for weight in weights.values())):
            network = _network(loaded.document)
        names = tuple(str(name) for name in loaded.document["class_names"])
        preprocessing = Preprocessing.from_state(loaded.tensors, loaded.document["input"])
        config = dict(loaded.document["config"])
        config["augment"].get("padding_pixels")  # must be a mapping
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if plugin_errors.place_of(error) is not None:
            raise  # the builder of an own model fails, not the file
        raise CheckpointError(
            f"the checkpoint's description is incomplete ({error!r})", escape_control(str(path))
        ) from error
    except UsageError as error:
        raise CheckpointError(
            "the checkpoint's model cannot be built", escape_control(str(path)), error.what
        ) from error

    checkpoint.copy_into(dict(network.state_dict()), weights, path)
    if len(names) != network.num_classes:
        raise CheckpointError(
            f"{network.num_classes} scores but {len(names)} class names", escape_control(str(path))
        )

    layout = torch.channels_last if channels_last else torch.preserve_format
    network = network.to(device).to(memory_format=layout).eval()
    return StoredNetwork(
        Path(path), network, preprocessing.to(device), names, config, loaded.document, kind
    )


_MAKERS = {
    torch.empty,
    torch.empty_strided,
    torch.zeros,
    torch.ones,
    torch.full,
    torch.rand,
    torch.randn,
    Tensor.new_empty,
    Tensor.new_zeros,
    Tensor.new_ones,
    Tensor.new_full,
}
"""Functions by which layers allocate their weights: f(*sizes) or f(size, ...)."""


class _NothingLargerThan(TorchFunctionMode):
    """Refuse to allocate a tensor larger than all weights of the file, before it is allocated.

    A few forged numbers could otherwise ask for any amount of memory. A TorchDispatchMode would see
    every operator, but imports torch's compiler: two seconds at the start of each evaluation.
    """

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.num_values = max(num_values, _ALWAYS_ALLOWED)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MAKERS and (num_values := _num_values(args, kwargs)) > self.num_values:
            raise ValueError(f"a layer of {num_values:,} values, which the file lacks")
        return func(*args, **kwargs)


def _num_values(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    given = [*args, kwargs.get("size")]
    sides = [side for side in given if isinstance(side, int)]
    return math.prod(next((size for size in given if isinstance(size, list | tuple)), sides))


def _network(document: dict[str, Any]) -> models.Network:
    sizes = document["model"]
    config = parse_model(document["config"]["model"])
    return models.build(
        models.on_one_device(config),
        in_channels=int(sizes["in_channels"]),
        input_size_pixels=int(sizes["input_size_pixels"]),
        num_classes=int(sizes["num_classes"]),
        seed=0,
    )
