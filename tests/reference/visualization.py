"""Slow, obvious versions of what the visualization room does, and networks to try them on.

The way back through a network, written out: one layer at a time, one window at a time, no autograd.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab import models
from cnnlab.config import choices
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.models.network import Network
from cnnlab.visualization.probe import ImageSet, Probe

LIGHT_HEAD = {"without_layers": ["fc6", "fc7"], "dropout": 0.0}
"""AlexNet without its 54 million fully connected weights, which no picture of a part looks at."""


def network(name: str, *, channels: int, size: int, classes: int = 10, **changes: Any) -> Network:
    """Build a model of the table, float64 and in eval mode, with some settings changed."""
    plain = choices.alone("model", name) | changes
    config = parse(ModelConfig, plain)
    built = models.build(
        config, in_channels=channels, input_size_pixels=size, num_classes=classes, seed=3
    )
    return built.double().eval()


def probe_for(net: Network, *, num_images: int = 12, **changes: Any) -> Probe:
    """Return random images, all of them also the sets that pictures search."""
    generator = torch.Generator().manual_seed(2)
    side, channels = net.input_size_pixels, net.in_channels
    images = torch.randint(
        0, 256, (num_images, channels, side, side), generator=generator, dtype=torch.uint8
    )
    labels = torch.arange(num_images) % net.num_classes
    dtype = next(net.parameters()).dtype
    everything = set_of(images, labels)
    settings: dict[str, Any] = {
        "images": images,
        "labels": labels,
        "class_names": tuple(f"class {k}" for k in range(net.num_classes)),
        "normalize": lambda batch: (batch.to(dtype) - 127.5) / 64,
        "image_set": everything,
        "train_set": everything,
        "model_title": "net",
        "checkpoint_title": "step 7",
        "set_title": "noise test",
        "num_units": 4,
        "batch_size": 5,
    }
    return Probe(**(settings | changes))


def set_of(images: Tensor, labels: Tensor, batch_size: int = 5) -> ImageSet:
    """Return images in memory as a set to search."""
    return ImageSet(
        "noise",
        len(images),
        lambda: zip(images.split(batch_size), labels.split(batch_size), strict=True),
        lambda indices: images[indices],
    )


def project_by_hand(
    net: Network, image: Tensor, layer: str, unit: int, position: int, signal: str
) -> Tensor:
    """Go down from one activation of one image [C,S,S] to the pixels [C,S,S]."""
    inputs, maps = [], image[None]
    passed = []
    for item in net.layers:
        inputs.append(maps)
        maps = item.module(maps)
        passed.append(item)
        if item.name == layer:
            break
    back = torch.zeros_like(maps)
    back[0, unit].view(-1)[position] = 1.0
    for item, before in zip(reversed(passed), reversed(inputs), strict=True):
        back = _down(item, before, back, signal)
    return back[0]


def _down(item: Any, before: Tensor, back: Tensor, signal: str) -> Tensor:
    if item.role == "rectifier":
        return rectify_by_hand(before, back, signal)
    if item.role == "norm":
        assert signal != "gradient", "no Jacobian of the normalization here"
        return back
    if item.role == "squash":
        return back * (1 - item.module(before) ** 2)
    if item.role == "pool":
        return unpool_by_hand(item.module, before, back)
    if item.role == "conv":
        return transpose_by_hand(item.module, before, back)
    if item.role == "fc":
        return back @ item.module.weight
    assert item.role in ("flatten", "dropout"), item.role
    return back.reshape(before.shape)


def rectify_by_hand(before: Tensor, back: Tensor, signal: str) -> Tensor:
    """Let the signal pass where the forward value, its own value or both are positive."""
    forward_open, backward_open = before > 0, back > 0
    gates = {
        "gradient": forward_open,
        "deconvnet": backward_open,
        "guided": forward_open & backward_open,
    }
    return torch.where(gates[signal], back, torch.zeros_like(back))


def unpool_by_hand(pool: nn.Module, before: Tensor, back: Tensor) -> Tensor:
    """Add each window's signal where its maximum was; mean pooling spreads it over the window."""
    size, stride = int(pool.kernel_size), int(pool.stride)
    unpooled = torch.zeros_like(before)
    for row in range(back.shape[2]):
        for column in range(back.shape[3]):
            if not back[0, :, row, column].any():
                continue  # nothing to add
            top, left = row * stride, column * stride
            window = before[0, :, top : top + size, left : left + size]
            target = unpooled[0, :, top : top + size, left : left + size]
            if isinstance(pool, nn.AvgPool2d):
                target += back[0, :, row, column, None, None] / window[0].numel()
                continue
            best = window.flatten(1).argmax(1)
            channels = torch.arange(len(window))
            target[channels, best // window.shape[2], best % window.shape[2]] += back[
                0, :, row, column
            ]
    return unpooled


def transpose_by_hand(conv: nn.Module, before: Tensor, back: Tensor) -> Tensor:
    """Add each output's kernel, times its signal, to the pixels it was computed from."""
    stride, padding = conv.stride[0], conv.padding[0]
    kernel = conv.weight.shape[-1]
    room = (back.shape[-1] - 1) * stride + kernel + padding
    side = max(before.shape[-1] + 2 * padding, room)
    canvas = before.new_zeros(before.shape[1], side, side)
    for row in range(back.shape[2]):
        for column in range(back.shape[3]):
            if not back[0, :, row, column].any():
                continue  # nothing to add
            kernels_in = before.shape[1] // conv.groups
            kernels_out = back.shape[1] // conv.groups
            for group in range(conv.groups):
                outs = slice(group * kernels_out, (group + 1) * kernels_out)
                ins = slice(group * kernels_in, (group + 1) * kernels_in)
                patch = torch.einsum("k,kchw->chw", back[0, outs, row, column], conv.weight[outs])
                top, left = row * stride, column * stride
                canvas[ins, top : top + kernel, left : left + kernel] += patch
    inner = slice(padding, padding + before.shape[-1])
    return canvas[None, :, inner, inner].detach()


def field_by_gradient(maps: Tensor, row: int, column: int, pixels: Tensor) -> Any:
    """Return (top, left, bottom, right) of the pixels that a place of a layer depends on.

    The box around every non-zero derivative, over all maps of the layer and all images; the last
    row and column are inside.
    """
    place = maps[:, :, row, column] if maps.dim() == 4 else maps
    weights = torch.randn(place.shape, generator=torch.Generator().manual_seed(7))
    total = (place * weights.to(place)).sum()
    (gradient,) = torch.autograd.grad(total, pixels, retain_graph=True)
    touched = gradient.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero()[:, 0], touched.any(0).nonzero()[:, 0]
    return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])
