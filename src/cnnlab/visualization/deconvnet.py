"""Project a unit back to the pixels: deconvnet, gradient, guided as kinds of one backward pass.

Autograd does two of the deconvnet's three steps: unpooling with switches is the backward of max
pooling, filtering with the transposed filters is the backward of a convolution (groups, towers and
the exact input size included). Replaced here are the backward of a rectifier and that of local
response normalization, which the deconvnet passes unchanged. Batch normalization keeps its own
backward: in eval mode it scales each map by a constant, as if its convolution did.

Where pooling windows overlap, one value can be the maximum of several; their signals then add, as
in autograd. `max_unpool2d` keeps only one of them.
"""

from typing import Any

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Layer, Network
from cnnlab.visualization.layer_access import check_layer, flatten_positions

SIGNALS = ("deconvnet", "gradient", "guided")


class _Rectify(torch.autograd.Function):
    """ReLU forward; backward masks by the sign of the input, of the gradient, or by both."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, signal: str) -> Tensor:
        rectified = maps.clamp_min(0)
        ctx.signal = signal
        ctx.save_for_backward(rectified)
        return rectified

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rectified,) = ctx.saved_tensors
        backward = grads[0]
        if ctx.signal in ("gradient", "guided"):
            backward = backward * (rectified > 0)
        if ctx.signal in ("deconvnet", "guided"):
            backward = backward.clamp_min(0)
        return backward, None


class _PassBack(torch.autograd.Function):
    """`normalized` forward; backward passes the gradient to `maps` unchanged."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, normalized: Tensor) -> Tensor:
        return normalized.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def forward_with_signal(model: Network, images: Tensor, layer: str, signal: str) -> Tensor:
    """Return the maps of `layer`, recorded so that their backward pass computes `signal`.

    images float [N,C,S,S] that require grad. Only layers with the roles rectifier and norm differ
    between the signals; tanh and sigmoid keep their derivative, as the paper has no rule for them.
    Source: Zeiler & Fergus 2014, section 2.1; guided: Springenberg et al. 2014, section 3.4.
    """
    for one, maps in model.outputs(images, lambda layer, maps: _apply(layer, maps, signal)):
        if one.name == layer:
            return maps
    raise AssertionError(f"{layer} was not checked")


def project(
    model: Network,
    images: Tensor,
    layer: str,
    units: Tensor,
    signal: str = "deconvnet",
    positions: Tensor | None = None,
) -> Tensor:
    """Project one activation of each image to the pixels: [N,C,S,S].

    images float [N,C,S,S]; units int64 [N]; positions int64 [N] in the flattened map, by default
    where the unit is strongest. The backward pass starts from one at that activation and zero
    elsewhere; starting from its value instead scales the picture by that value, as each kind of
    pass is positively homogeneous. `gradient` is torch.autograd.grad of the activation.
    Raises UsageError for a layer, unit or signal that does not exist.
    """
    if signal not in SIGNALS:
        raise UsageError(f"there is no signal {signal!r}", hint=f"one of: {', '.join(SIGNALS)}")
    check_layer(model, layer)
    if signal != "gradient" and model.rectifies_by_function:
        raise UsageError(
            f"signal={signal} changes the backward pass of rectifiers that are layers",
            hint="use nn.ReLU in place of F.relu, or signal=gradient",
        )

    with eval_mode(model), torch.enable_grad():
        pixels = images.detach().requires_grad_()
        maps = forward_with_signal(model, pixels, layer, signal)
        chosen = _chosen(flatten_positions(maps), layer, units)
        at = chosen.argmax(1) if positions is None else positions

        # images do not interact in eval mode: the gradient of the sum is that of each alone
        picked = chosen.gather(1, at[:, None]).sum()
        (projected,) = torch.autograd.grad(picked, pixels)
    return projected


def _apply(layer: Layer, maps: Tensor, signal: str) -> Tensor:
    output: Tensor
    if layer.role == "rectifier":
        output = _Rectify.apply(maps, signal)
    elif layer.role == "norm" and signal != "gradient":
        with torch.no_grad():
            normalized = layer.module(maps)
        output = _PassBack.apply(maps, normalized)
    else:
        output = layer.module(maps)
    return output


def _chosen(maps: Tensor, layer: str, units: Tensor) -> Tensor:
    """Select each image's unit: [N,K,P] -> [N,P]."""
    outside = units[(units < 0) | (units >= maps.shape[1])]
    if len(outside):
        raise UsageError(
            f"layer {layer} has no unit {int(outside[0])}",
            hint=f"its units are 0 to {maps.shape[1] - 1}",
        )
    return maps[torch.arange(len(maps), device=maps.device), units]
