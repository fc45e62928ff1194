"""Where the pixels of a Store are kept while in use: on the device, on the host, or on disk."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from cnnlab import system
from cnnlab.data.store import Store, all_indices
from cnnlab.data.upload import upload
from cnnlab.errors import ResourceError

Prepare = Callable[[Tensor], Tensor]
"""uint8 [n,C,H,W] -> uint8 [n,C,S,S]."""

CHUNK_IMAGES = 2048
_SHARE_OF_FREE_MEMORY = 0.5
_UNKNOWN_FREE_BYTES = 4 << 30
"""What to assume of a system that does not tell, as macOS: dataset.residency chooses otherwise."""


class Pixels(Protocol):
    """The prepared images of a Store, by index."""

    residency: str
    home: torch.device

    def take(self, indices: Tensor) -> Tensor:
        """Return uint8 [n,C,S,S] on the device, channels_last, for indices [n] on `home`."""
        ...

    def take_run(self, start: int, stop: int) -> Tensor:
        """Return images start..stop-1; the result may be a view and must not be written to."""
        ...


class Resident:
    """All images, prepared once and kept on `home`; a batch is one index_select."""

    def __init__(self, store: Store, prepare: Prepare, home: torch.device, device: torch.device):
        self.residency = "device" if home == device else "host"
        self._device = device
        self._images = _prepare_all(store, prepare, home)  # [N,S,S,C]
        self.home = self._images.device
        self._uploads = home.type == "cpu" and device.type != "cpu"

    def take(self, indices: Tensor) -> Tensor:
        return self._on_device(self._images.index_select(0, indices))

    def take_run(self, start: int, stop: int) -> Tensor:
        return self._on_device(self._images[start:stop])

    def _on_device(self, images: Tensor) -> Tensor:
        if self._uploads:
            images = upload(images, self._device)
        return images.permute(0, 3, 1, 2)


class Mapped:
    """Images read from the Store and prepared batch by batch; nothing is kept."""

    residency, home = "mapped", torch.device("cpu")

    def __init__(self, store: Store, prepare: Prepare, device: torch.device):
        self._store, self._prepare, self._device = store, prepare, device
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None

    def take(self, indices: Tensor) -> Tensor:
        images = self._prepare(self._store.read(indices).permute(0, 3, 1, 2))
        images = images.contiguous(memory_format=torch.channels_last)
        if self._copying is None:
            return images.to(self._device)

        with torch.cuda.stream(self._copying):  # overlaps with the computation
            on_device = upload(images, self._device)
        self._copying.synchronize()  # waits in the prefetch thread
        return on_device

    def take_run(self, start: int, stop: int) -> Tensor:
        return self.take(torch.arange(start, stop))


def place(store: Store, prepare: Prepare, device: torch.device, residency: str) -> Pixels:
    """Prepare the images and keep them as `residency` says; auto: `choose`.

    Raises ResourceError when they do not fit there.
    """
    choice = choose(store, prepare, device) if residency == "auto" else residency
    if choice == "mapped":
        return Mapped(store, prepare, device)

    home = device if choice == "device" else torch.device("cpu")
    try:
        return Resident(store, prepare, home, device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError(
            f"{prepared_bytes(store, prepare):,} bytes of images do not fit on {home}",
            store.describe(),
            "dataset.residency=mapped reads them batch by batch",
        ) from error


def choose(store: Store, prepare: Prepare, device: torch.device) -> str:
    """Return device if the images take at most half of its free memory, else host, else mapped."""
    needed = prepared_bytes(store, prepare)
    if needed <= _SHARE_OF_FREE_MEMORY * free_bytes(device):
        return "device"
    if device.type != "cpu" and needed <= _SHARE_OF_FREE_MEMORY * free_bytes(torch.device("cpu")):
        return "host"
    return "mapped"


def prepared_bytes(store: Store, prepare: Prepare) -> int:
    """Return the size of all prepared images, computed from the first."""
    first = prepare(store.read(torch.zeros(1, dtype=torch.int64)).permute(0, 3, 1, 2))
    return first.numel() * len(store)


def free_bytes(device: torch.device) -> int:
    """Return the free memory of `device`; 4 GiB for the host where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return system.free_memory_bytes() or _UNKNOWN_FREE_BYTES


def _prepare_all(store: Store, prepare: Prepare, home: torch.device) -> Tensor:
    """Return uint8 [N,S,S,C] on `home`, prepared in chunks to bound memory."""
    resident: Tensor | None = None
    for indices in all_indices(store).split(CHUNK_IMAGES):
        chunk = prepare(store.read(indices).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if resident is None:
            shape = (len(store), *chunk.shape[1:])
            resident = torch.empty(shape, dtype=torch.uint8, device=home)

        start = int(indices[0])
        resident[start : start + len(chunk)] = chunk.to(home)
    assert resident is not None, "a Store is never empty"
    return resident
