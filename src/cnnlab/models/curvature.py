"""The diagonal of LeNet-5's Gauss-Newton matrix, for the update rule of 1998."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.models.layers_1998 import RbfOutput, ScaledTanh, Subsample, TableConv2d
from cnnlab.models.network import Network
from cnnlab.numerics import probabilities


def diagonal(network: Network, images: Tensor) -> dict[str, Tensor]:
    """Return the mean second derivative of the loss for each weight, by parameter name; all >= 0.

    images: [N, C, S, S], normalized. Second derivatives are propagated back through squared weights
    and squared slopes; a shared weight sums the squares of its inputs over all its positions.
    Source: LeCun et al. 1998, appendix C: equations for the diagonal with off-diagonal terms and
    the second derivative of the squashing function left out; the loss is equation 8, whose second
    derivative for a unit of F6 is 2. With softmax scores it is the cross-entropy, whose second
    derivative for the score of a class of probability p is p (1 - p).
    """
    outputs = network.activations(images)
    inputs = dict(zip(outputs, [images, *outputs.values()], strict=False))
    squares = {
        name: parameter.detach().square().requires_grad_()
        for name, parameter in network.named_parameters()
    }

    # One backward pass through the squared network gives the second derivatives of all layers.
    with torch.enable_grad():
        carried, at_end = images.detach().square(), _of_scores(outputs)
        for layer in network.layers:
            own = {
                name.removeprefix(f"{layer.name}."): square
                for name, square in squares.items()
                if name.startswith(f"{layer.name}.")
            }
            if isinstance(layer.module, RbfOutput):
                at_end = torch.full_like(carried, 2)  # its input, F6, is where the loss begins
                break
            before, after = inputs[layer.name].detach(), outputs[layer.name].detach()
            carried = _carry(layer.module, carried, (before, after), own)

        loss = (at_end * carried).sum() / len(images)
        found = torch.autograd.grad(loss, list(squares.values()))

    return dict(zip(squares, found, strict=True))


def _of_scores(outputs: dict[str, Tensor]) -> Tensor:
    """Return the second derivative of the cross-entropy for each score [N, K] of the last layer."""
    *_, scores = outputs.values()
    found = probabilities(scores.detach())
    return found * (1 - found)


def _carry(
    module: nn.Module, carried: Tensor, maps: tuple[Tensor, Tensor], own: dict[str, Tensor]
) -> Tensor:
    """Return the squared output of a layer, whose gradients are second derivatives.

    The gradient of a linear layer on squared inputs with squared weights is the squared
    propagation; its value is then replaced by the true squared output. Squashing multiplies the
    gradient by its squared slope. maps: input and output of the layer.
    """
    before, after = maps
    if isinstance(module, ScaledTanh):
        return _with_value(carried * module.slope_at(after).square(), after)
    if isinstance(module, nn.Flatten):
        return module(carried)

    if isinstance(module, TableConv2d):
        passed = F.conv2d(carried, module.dense(own["weight"]), own["bias"])
    elif isinstance(module, nn.Conv2d):
        passed = F.conv2d(carried, own["weight"], own["bias"])
    elif isinstance(module, nn.Linear):
        passed = F.linear(carried, own["weight"], own["bias"])
    elif isinstance(module, Subsample):
        sums = _with_value(module.sums(carried), module.sums(before))
        passed = sums * own["weight"][:, None, None] + own["bias"][:, None, None]
    else:
        raise UsageError(f"squared propagation knows no {type(module).__name__}; use lenet5_1998")

    return _with_value(passed, after)


def _with_value(path: Tensor, value: Tensor) -> Tensor:
    """Return `value` squared, with the gradient of `path` (a straight-through estimator)."""
    return value.square() + (path - path.detach())
