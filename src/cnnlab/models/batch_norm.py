"""Batch normalization after each convolution: `model.normalization=batch` of the AlexNets.

Its running statistics are buffers: saved with the weights, resumed bit for bit, and used in
evaluation. They are updated by every forward pass of training, so once per micro-batch where
batches are accumulated; `trainer/processes.py` refuses several processes, whose statistics would
differ.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.models.network import Layer, Network


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d that also trains on a single value per map, [1, C, 1, 1].

    [N, C, H, W] -> [N, C, H, W]. One value has no variance: it is normalized by the running
    statistics, which stay as they are. Scale 1 and shift 0 at first, for every initialization.
    Source: Ioffe & Szegedy 2015; momentum and epsilon are torch's, 0.1 and 1e-5.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalized maps."""
        if self.training and maps.numel() == maps.shape[1]:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(maps, *statistics, self.weight, self.bias, eps=self.eps)
        return super().forward(maps)

    def parameter_formula(self) -> str:
        """Return the lecture-style formula of the trainable numbers."""
        channels = self.num_features
        return f"{channels} + {channels} = {2 * channels:,}"


def batch_norm(suffix: str, channels: int) -> Layer:
    """Return the layer between a convolution and its activation."""
    return Layer(f"norm{suffix}", "batch_norm", BatchNorm2d(channels))


@contextmanager
def statistics_of_the_batch(network: Network) -> Iterator[None]:
    """Normalize by the batch, as training does, in a network in eval mode.

    The running statistics are put back at the end.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [{name: value.clone() for name, value in one.named_buffers()} for one in layers]
    try:
        for one in layers:
            one.train()
        yield
    finally:
        for one, buffers in zip(layers, kept, strict=True):
            one.eval()
            for name, value in buffers.items():
                one.get_buffer(name).copy_(value)
