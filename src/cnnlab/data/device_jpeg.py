"""JPEGs decoded on the device by torchvision, a batch at once: `dataset.decode=device`.

Not yet run on a GPU. NVIDIA's decoder rounds otherwise than libjpeg and interpolates colors in
another way, so its pixels differ from the host's by some levels. It does not tell lost data from
whole pictures as the host's does: what protects a Store are its checksums. torchvision 0.29 calls
this function deprecated; one without it is refused.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab.errors import DataError, ResourceError


def decode_on(device: torch.device, encoded: Sequence[Tensor], channels: int) -> Tensor:
    """Return uint8 [n,C,H,W] on `device` for JPEGs, uint8 [bytes] each on the CPU, of one size.

    Raises DataError where one cannot be decoded, ResourceError where torchvision cannot do it.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg  # a second: only for those who ask
    except ImportError as error:
        raise ResourceError(
            "dataset.decode=device needs torchvision", str(error), "dataset.decode=host does not"
        ) from error

    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    try:
        return torch.stack(decode_jpeg(list(encoded), mode, device=device))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0][:200]
        if "not compiled" in reason:
            raise ResourceError(
                f"this torchvision cannot decode on {device}", reason, "dataset.decode=host"
            ) from error
        raise DataError(
            "a JPEG of a batch cannot be decoded on the device",
            reason,
            "dataset.decode=host names it; cnnlab prepare verify=true checks the whole Store",
        ) from error
