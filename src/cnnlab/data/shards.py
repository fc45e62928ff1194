"""Write shards of a prepared Store: .npy arrays of pixels, or JPEGs one after another."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.blocks import BlockSums
from cnnlab.data.jpeg import encode_jpeg
from cnnlab.data.manifest import FileEntry
from cnnlab.data.store import Bad, Store
from cnnlab.data.workers import Workers
from cnnlab.files.atomic import replacing
from cnnlab.images import resize_shorter_side


@dataclass(frozen=True)
class Source:
    """A split to prepare. side_pixels: images of another size are resized to it by `kernel`."""

    store: Store
    side_pixels: int | None
    kernel: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that are read."""
        side = self.side_pixels
        return self.store.image_shape if side is None else (side, side, self.store.image_shape[2])

    def read_good(self, indices: Tensor, out: Tensor | None = None) -> tuple[Tensor, list[Bad]]:
        """Return uint8 [n,S,S,C], and the places of the images that could not be read."""
        side = self.side_pixels
        if side is None or self.store.image_shape[:2] == (side, side):
            return self.store.read_good(indices, out)
        images, bad = self.store.read_good(indices)
        planes = resize_shorter_side(images.permute(0, 3, 1, 2), side, self.kernel)
        images = planes.permute(0, 2, 3, 1).contiguous()
        return images if out is None else out.copy_(images), bad


def write_uint8(path: Path, images: Tensor) -> FileEntry:
    """Write uint8 [n,H,W,C] as a .npy file, atomically."""
    header = io.BytesIO()
    array = images.numpy()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return write_hashed(path, [header.getvalue(), array.reshape(-1).data], len(images))


def write_jpegs(path: Path, images: Tensor, quality: int, workers: Workers) -> FileEntry:
    """Write uint8 [n,H,W,C] as JPEGs, padding to 8 bytes, and n + 1 int64 offsets."""
    planes = images.permute(0, 3, 1, 2).contiguous()

    def encode_part(places: range) -> list[Any]:
        return [(place, encode_jpeg(planes[place], quality)) for place in places]

    encoded = [content for _, content in workers.run(encode_part, len(planes))]
    ends = np.concatenate([[0], np.cumsum([len(content) for content in encoded])])
    padding = b"\0" * (-int(ends[-1]) % 8)
    return write_hashed(path, [*encoded, padding, ends.astype("<i8").tobytes()], len(images))


def write_array(path: Path, array: Tensor) -> FileEntry:
    """Write labels, groups or a mean image as a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array.contiguous().numpy(), allow_pickle=False)
    return write_hashed(path, [buffer.getbuffer()], 0)


def write_hashed(path: Path, parts: list[Any], num_images: int) -> FileEntry:
    """Write the parts one after another, sync and rename; return the entry of the manifest."""
    state, blocks = hashlib.sha256(), BlockSums()
    with replacing(path) as file:
        for part in parts:
            state.update(part)
            blocks.update(part)
            file.write(part)
        num_bytes = file.num_bytes
    return FileEntry(path.name, num_bytes, state.hexdigest(), num_images, blocks.text())


def shard_ranges(num_images: int, bytes_each: int, shard_bytes: int) -> list[Tensor]:
    """Return the indices of each shard; a shard holds at most shard_bytes of pixels."""
    return list(torch.arange(num_images).split(max(1, shard_bytes // bytes_each)))
