"""How many threads a training computes with: as many as the work of a batch feeds."""

import torch

from cnnlab import runtime
from cnnlab.config import TrainConfig
from cnnlab.cpu.thread_count import Threads
from cnnlab.distributed import Peers
from cnnlab.models import Network
from cnnlab.models.summary import summarize


def choose(
    config: TrainConfig, network: Network, num_images: int, peers: Peers, device: torch.device
) -> Threads:
    """Let as many threads compute as one forward pass of this process feeds; return how many.

    They compute everything from here on, validation and test as well, so that a run is a function
    of one number of threads.
    """
    images = min(config.trainer.batch_size, num_images) / (config.trainer.accumulate * peers.size)
    multiply_adds = summarize(network).num_multiply_adds
    return runtime.use_threads(device, config.runtime.num_threads, round(images * multiply_adds))
