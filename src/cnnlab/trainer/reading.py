"""How a training reads its images: the stream of batches, `dataset.num_readers` and `decode`."""

import torch

from cnnlab.config import TrainConfig
from cnnlab.config.data import DatasetConfig, DecodedConfig
from cnnlab.data.readers import Prepare, Ring
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.store import Store
from cnnlab.data.stream import Stream
from cnnlab.distributed.share import Share
from cnnlab.preprocessing import Preprocessing


def stream_of(
    config: TrainConfig,
    train: Store,
    preprocessing: Preprocessing,
    device: torch.device,
    share: Share,
) -> Stream:
    """Return the endless shuffled batches of the training images.

    Raises UsageError where settings of reading have no effect, or cannot be met.
    """
    sampler = BatchSampler(
        len(train),
        batch_size=config.trainer.batch_size,
        seed=config.seed,
        limit_batches=config.trainer.limit_train_batches,
        overfit_one_batch=config.trainer.overfit_one_batch,
    )

    stream = Stream(
        train,
        sampler,
        device=device,
        residency=config.dataset.residency,
        prepare=preprocessing.prepare,
        share=share,
    )
    _apply(stream, config.dataset, train, preprocessing.prepare, device)
    return stream


def _apply(
    stream: Stream, dataset: DatasetConfig, store: Store, prepare: Prepare, device: torch.device
) -> None:
    """Let `stream`, of the images of `store`, read as `dataset` says."""
    if not isinstance(dataset, DecodedConfig):
        return
    if dataset.num_readers > 1 or dataset.decode == "device":
        there = dataset.decode == "device"
        stream.read_by(Ring(store, prepare, device, dataset.num_readers, there))
