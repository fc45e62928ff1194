"""`dataset.num_readers` and `dataset.decode`: how a training reads the batches of mapped images."""

import torch

from cnnlab.config.data import DatasetConfig, DecodedConfig
from cnnlab.data.readers import Prepare, Ring
from cnnlab.data.store import Store
from cnnlab.data.stream import Stream


def apply(
    stream: Stream, dataset: DatasetConfig, store: Store, prepare: Prepare, device: torch.device
) -> None:
    """Let `stream`, of the images of `store`, read as `dataset` says.

    Raises UsageError where the settings have no effect, or cannot be met.
    """
    if not isinstance(dataset, DecodedConfig):
        return
    if dataset.num_readers > 1 or dataset.decode == "device":
        there = dataset.decode == "device"
        stream.read_by(Ring(store, prepare, device, dataset.num_readers, there))
