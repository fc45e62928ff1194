"""The patch of the image that a unit sees: its corner, and cutting it out."""

import torch
from torch import Tensor

from cnnlab.geometry import ReceptiveField
from cnnlab.models.network import Network
from cnnlab.visualization.layer_access import default_layer, layers_with


def field_of(model: Network, layer: str) -> ReceptiveField:
    """Return the receptive field of the layer's units."""
    return model.receptive_fields[layer]


def corners(field: ReceptiveField, positions: Tensor, width: int) -> Tensor:
    """Return the top left pixel of the fields at flattened positions: int64 [N] -> [N,2].

    width: of the map. Corners are outside the image where a field extends beyond its border.
    """
    rows_columns = torch.stack([positions // width, positions % width], dim=1)
    return rows_columns * field.jump_pixels + field.start_pixels


def covers_image(field: ReceptiveField, image_size: int) -> bool:
    """Return whether the field is at least as large as the image, so that there is no patch."""
    return field.size_pixels >= image_size


def cut(pictures: Tensor, field: ReceptiveField, top_left: Tensor, fill: float) -> Tensor:
    """Cut each field out of its picture: [N,C,S,S], corners [N,2] -> [N,C,F,F].

    F is the field's size; pixels beyond the picture become `fill`. With a field that covers the
    picture the whole pictures are returned.
    """
    side = pictures.shape[-1]
    if covers_image(field, side):
        return pictures

    span = torch.arange(field.size_pixels, device=pictures.device)
    rows, columns = top_left[:, :1] + span, top_left[:, 1:] + span  # [N,F] each
    item = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    at = item, slice(None), rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None]
    patches = pictures[at].permute(0, 3, 1, 2)  # indices around a slice put its axis last

    row_inside, column_inside = (rows >= 0) & (rows < side), (columns >= 0) & (columns < side)
    inside = row_inside[:, :, None] & column_inside[:, None]  # [N,F,F]
    return torch.where(inside[:, None], patches, patches.new_tensor(fill))


def deepest_local_layer(model: Network, image_size: int) -> str:
    """Return the last convolution whose units see a patch; else the last conv or fc layer.

    The default layer of pictures that show patches: conv5, C3.
    """
    local = [
        layer.name
        for layer in layers_with(model, "conv")
        if not covers_image(field_of(model, layer.name), image_size)
    ]
    return local[-1] if local else default_layer(model, "conv", "fc")
