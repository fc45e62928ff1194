"""From a unit back to the pixels: deconvnet, gradient and guided as settings of one backward pass.

The deconvnet's three steps are what autograd does anyway: unpooling with switches is the backward
of max pooling, filtering with the transposed filters is the backward of a convolution (groups,
towers and the exact input size included). Two things differ and are replaced here: what a
rectifier lets pass, and that contrast normalization is left out on the way down.

Where windows overlap a value can be the maximum of several; its switches then repeat and the
signals add, which is the only choice equal to autograd. `max_unpool2d` keeps one of them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.visualization.probe import evaluating
from cnnlab.visualization.walk import check_layer, layers_of, places_of

SIGNALS = ("deconvnet", "gradient", "guided")


class _Rectify(torch.autograd.Function):
    """max(0, x) forward; backward masks by the forward sign, by the signal's own sign, or both."""

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
    """The layer's values forward, the identity backward."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, normalized: Tensor) -> Tensor:
        return normalized.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def forward_with_signal(model: nn.Module, images: Tensor, layer: str, signal: str) -> Tensor:
    """Return the maps of `layer`, recorded so that their backward pass carries `signal`.

    images float [N,C,S,S] that require grad. Only layers with the roles rectifier and norm differ
    between the signals; a squashing function keeps its derivative, for which the paper has no rule.
    Source: Zeiler & Fergus 2014, section 2.1; guided: Springenberg et al. 2014, section 3.4.
    """
    maps = images
    for item in layers_of(model):
        maps = _apply(item, maps, signal)
        if item.name == layer:
            return maps
    raise AssertionError(f"{layer} was not checked")


def project(
    model: nn.Module,
    images: Tensor,
    layer: str,
    units: Tensor,
    signal: str = "deconvnet",
    positions: Tensor | None = None,
) -> Tensor:
    """Project one activation of each image to the pixels: [N,C,S,S].

    images float [N,C,S,S]; units int64 [N]; positions int64 [N] index the flattened map, by
    default where the unit is strongest. All other activations count as zero and the chosen one as
    one: each of the three passes is positively homogeneous, so starting from its value a instead
    multiplies the picture by a. `gradient` is torch.autograd.grad of the activation.
    Raises UsageError for a layer, unit or signal that does not exist.
    """
    if signal not in SIGNALS:
        raise UsageError(f"there is no signal {signal!r}", hint=f"one of: {', '.join(SIGNALS)}")
    check_layer(model, layer)
    with evaluating(model), torch.enable_grad():
        pixels = images.detach().requires_grad_()
        maps = forward_with_signal(model, pixels, layer, signal)
        chosen = _chosen(places_of(maps), layer, units)
        at = chosen.argmax(1) if positions is None else positions
        picked = chosen.gather(1, at[:, None]).sum()
        (projected,) = torch.autograd.grad(picked, pixels)
    return projected


def _apply(item: Any, maps: Tensor, signal: str) -> Tensor:
    if item.role == "rectifier":
        return _Rectify.apply(maps, signal)
    if item.role == "norm" and signal != "gradient":
        with torch.no_grad():
            normalized = item.module(maps)
        return _PassBack.apply(maps, normalized)
    return item.module(maps)


def _chosen(maps: Tensor, layer: str, units: Tensor) -> Tensor:
    """Pick each image's unit: [N,K,P] -> [N,P]."""
    outside = units[(units < 0) | (units >= maps.shape[1])]
    if len(outside):
        raise UsageError(
            f"layer {layer} has no unit {int(outside[0])}",
            hint=f"its units are 0 to {maps.shape[1] - 1}",
        )
    return maps[torch.arange(len(maps), device=maps.device), units]
