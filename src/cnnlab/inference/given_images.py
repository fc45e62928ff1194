"""Images as a program has them: arrays, tensors and PIL images of any layout, as uint8 tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import DataError


def as_images(images: Any) -> list[Tensor]:
    """Return images in any of the forms of `Predictor.predict` as uint8 [n,C,H,W] tensors.

    Raises DataError for other forms, for no image and for an image without pixels.
    """
    found = _as_batches(images)
    if not sum(len(batch) for batch in found):
        raise DataError("there are no images to predict", hint="skip batches that are empty")
    if not all(batch.numel() for batch in found):
        raise DataError("an image has no pixels: its height or width is 0")
    return found


def _as_batches(images: Any) -> list[Tensor]:
    if isinstance(images, list | tuple):
        return [_single(image)[None] for image in images]
    if hasattr(images, "convert") and hasattr(images, "getbands"):  # one PIL image
        return [_single(images)[None]]

    tensor = _uint8(images)
    if tensor.dim() == 2:
        return [tensor[None, None]]
    if tensor.dim() == 3:
        return [tensor[:, None]]
    if tensor.dim() != 4:
        raise _unknown_shape(tensor)
    return [_channels_first(tensor)]


def _single(image: Any) -> Tensor:
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        image = np.array(image.convert("L" if len(image.getbands()) == 1 else "RGB"))
    tensor = _uint8(image)
    if tensor.dim() == 2:
        return tensor[None]
    if tensor.dim() != 3:
        raise _unknown_shape(tensor)
    return _channels_first(tensor[None])[0]


def _channels_first(images: Tensor) -> Tensor:
    if images.shape[1] in (1, 3):
        return images
    if images.shape[3] in (1, 3):
        return images.permute(0, 3, 1, 2)
    raise _unknown_shape(images)


def _uint8(image: Any) -> Tensor:
    tensor = torch.from_numpy(np.array(image)) if isinstance(image, np.ndarray) else image
    if not isinstance(tensor, Tensor) or tensor.dtype != torch.uint8:
        kind = getattr(tensor, "dtype", type(tensor).__name__)
        raise DataError(f"images must be uint8 (0 to 255), got {kind}")
    return tensor


def _unknown_shape(tensor: Tensor) -> DataError:
    return DataError(
        f"cannot tell images from a shape of {tuple(tensor.shape)}",
        hint="[H,W], [N,H,W], [N,H,W,C] or [N,C,H,W], C one or three",
    )
