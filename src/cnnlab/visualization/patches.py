"""The part of the image that a unit sees: its box, and cutting it out."""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.visualization.walk import default_layer, layers_with


def field_of(model: nn.Module, layer: str) -> Any:
    """Return the layer's receptive field: size_pixels, jump_pixels, start_pixels."""
    return model.receptive_fields[layer]  # type: ignore[index]


def corners(field: Any, positions: Tensor, width: int) -> Tensor:
    """Return the top left pixel of the fields at flattened positions: int64 [N] -> [N,2].

    width: of the map. Corners lie outside the image where a field hangs over its border.
    """
    places = torch.stack([positions // width, positions % width], dim=1)
    return places * field.jump_pixels + field.start_pixels


def covers_image(field: Any, image_size: int) -> bool:
    """Tell whether the field is as large as the image, so that cutting would hide nothing."""
    return bool(field.size_pixels >= image_size)


def cut(pictures: Tensor, field: Any, top_left: Tensor, fill: float) -> Tensor:
    """Cut each field out of its picture: [N,C,S,S], corners [N,2] -> [N,C,F,F].

    F is the field's size; what lies beyond the picture becomes `fill`. A field that is as large as
    the picture gives the whole picture, uncut.
    """
    side = pictures.shape[-1]
    if covers_image(field, side):
        return pictures
    span = torch.arange(field.size_pixels, device=pictures.device)
    rows, columns = top_left[:, :1] + span, top_left[:, 1:] + span  # [N,F] each
    item = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    patches = pictures[
        item, :, rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]
    ].permute(0, 3, 1, 2)
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[
        :, None, :
    ]
    return torch.where(inside[:, None], patches, patches.new_tensor(fill))


def deepest_local_layer(model: nn.Module, image_size: int) -> str:
    """Return the last convolution whose units see less than the image; else the last with weights.

    The layer that pictures of parts are drawn of when none is asked for: conv5, C3.
    """
    local = [
        layer.name
        for layer in layers_with(model, "conv")
        if not covers_image(field_of(model, layer.name), image_size)
    ]
    return str(local[-1]) if local else default_layer(model, "conv", "fc")
