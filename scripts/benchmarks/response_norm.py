"""Time and memory of local response normalization against torch's layer, forward and backward.

    python scripts/benchmarks/response_norm.py

One thread or a GPU, the shapes of the two normalization layers of the 2012 network at batch 32.
"""

from collections.abc import Callable

import torch
from head import options, parse
from timing import seconds
from torch import Tensor, nn

from cnnlab.models.normalization import LocalResponseNorm

SHAPES = ((32, 96, 55, 55), (32, 256, 27, 27))
REPEATS = 5
ALPHA = 1e-4


def milliseconds(layer: Callable[[Tensor], Tensor], maps: Tensor) -> float:
    """Return the fastest of REPEATS forward and backward passes."""

    def there_and_back() -> None:
        maps.grad = None
        layer(maps).sum().backward()

    return 1e3 * min(seconds(there_and_back, 1, maps.device) for _ in range(REPEATS))


def saved_bytes(layer: Callable[[Tensor], Tensor], maps: Tensor) -> int:
    """Return the bytes that the forward pass keeps for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(maps)
    return sum(kept.values())


def main() -> None:
    parser = options(__doc__, threads=True, device=True)
    parser.set_defaults(threads=1)
    given = parse(parser)
    layers = {
        # torch divides alpha by the window of 5
        "torch.nn.LocalResponseNorm": nn.LocalResponseNorm(5, 5 * ALPHA, 0.75, 2.0),
        "cnnlab": LocalResponseNorm(5, ALPHA),
    }

    for shape in SHAPES:
        maps = (40 * torch.randn(shape, device=given.device)).requires_grad_()
        for name, layer in layers.items():
            size = "x".join(map(str, shape))
            print(
                f"{size:<14} {name:<28} {milliseconds(layer, maps):7.0f} ms "
                f"{saved_bytes(layer, maps) / 2**20:7.0f} MiB kept for the backward pass"
            )


if __name__ == "__main__":
    main()
