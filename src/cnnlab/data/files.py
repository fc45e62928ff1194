"""FileStore: images decoded from their files each time they are read, at one size.

Below it, what all sets of image files take from their settings: the folder, and how to decode.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cnnlab import images as pixels
from cnnlab.config.data import DecodedConfig, EncodedConfig
from cnnlab.cpu.buffer_pool import BufferPool
from cnnlab.cpu.processors import budget
from cnnlab.data.contents import digest_of_files
from cnnlab.data.decode import MAX_PIXELS, BadImage, decode, quiet, read_file
from cnnlab.data.leaving_out import bad_among, bad_files
from cnnlab.data.listing import Listing
from cnnlab.data.store import Bad, Reading, Store, check_labels
from cnnlab.data.workers import Workers
from cnnlab.errors import DataError, UsageError
from cnnlab.safe_output import escape_control


@dataclass(frozen=True)
class Decoding:
    """How files become pixels: resize the shorter side, then cut the central square."""

    side_pixels: int
    channels: int = 3
    kernel: str = "bilinear"
    max_pixels: int = MAX_PIXELS
    num_threads: int = 1


class FileStore(Store):
    """The files of a split. Reading a bad one raises BadFilesError, which names all bad ones."""

    def __init__(
        self,
        name: str,
        split: str,
        listing: Listing,
        decoding: Decoding,
        mirror_allowed: bool,
        note: str,
    ) -> None:
        check_labels(listing.labels, listing.class_names, f"{name}, {split}, {listing.root}")
        self.name, self.split, self.mirror_allowed = name, split, mirror_allowed
        self.labels, self.class_names = listing.labels, listing.class_names
        self.groups, self.note, self.decodes = listing.groups, note, True
        self.image_shape = (decoding.side_pixels, decoding.side_pixels, decoding.channels)
        self.listing, self.decoding = listing, decoding
        self._workers, self._memory = Workers(decoding.num_threads), BufferPool()

    def read_as(self, reading: Reading) -> "FileStore":
        side = reading.side_pixels or self.decoding.side_pixels
        decoding = replace(self.decoding, **(vars(reading) | {"side_pixels": side}))
        return FileStore(
            self.name, self.split, self.listing, decoding, self.mirror_allowed, self.note
        )

    def name_of(self, index: int) -> str:
        return self.listing.paths[index]

    def read(self, indices: Tensor) -> Tensor:
        images, bad = self.read_good(indices)
        if bad:
            raise bad_files(self, bad_among(self, indices, bad))
        return images

    def read_good(self, indices: Tensor, out: Tensor | None = None) -> tuple[Tensor, list[Bad]]:
        shape = (len(indices), *self.image_shape)
        images = self._memory.empty(shape, torch.uint8) if out is None else out
        where = indices.tolist()

        def decode_part(places: range) -> list[Bad]:
            bad = []
            for place in places:
                try:
                    images[place] = self.read_one(where[place])
                except BadImage as error:
                    bad.append((place, error))
            return bad

        with quiet():
            return images, self._workers.run(decode_part, len(where))

    def read_one(self, index: int) -> Tensor:
        """Return uint8 [H,W,C]. Raises BadImage."""
        options = self.decoding
        path = self.listing.path(index)
        image = decode(read_file(path), path, options.channels, options.max_pixels)
        batch = pixels.as_batch(image)
        side = options.side_pixels
        return pixels.resize_shorter_side(batch, side, options.kernel)[0].permute(1, 2, 0)

    def _digest(self) -> str:
        return digest_of_files(self.listing, self._workers)

    def _earlier_digest(self) -> str:
        """Names, labels and sizes."""
        return self.listing.digest()


def existing_root(root: str | None, name: str, layout: str) -> Path:
    """Return dataset.root as a folder. Raises DataError when it is not set or not a folder."""
    if root is None:
        raise DataError(f"the files of {name} were not found", "dataset.root is not set", layout)
    if not Path(root).is_dir():
        where = escape_control(str(Path(root).absolute()))
        raise DataError("dataset.root is not a folder", where, layout)
    return Path(root)


def decoding_for(config: EncodedConfig) -> Decoding:
    """Return how to decode: to the image size without its padding."""
    side = config.image_size_pixels - 2 * config.pad_pixels
    if side < 1:
        raise UsageError(f"dataset.pad_pixels={config.pad_pixels} leaves no pixels of the images")
    return Decoding(side, config.channels or 3, num_threads=decode_threads(config))


def decode_threads(config: DecodedConfig) -> int:
    """Return how many threads decode: as configured, else one per processor that is ours."""
    return config.num_decode_threads or budget().processors
