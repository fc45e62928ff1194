"""Several processes train as one: torch.distributed under torchrun; one process is the plain case.

share: who takes which rows. peers: what the processes tell one another. joining: start, end, and
who is to blame. gradients: sums while the backward pass is still running. watch: who fell silent.
"""

from cnnlab.distributed.gradients import GradientSum
from cnnlab.distributed.joining import device_name, is_launched, joined
from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.distributed.share import WHOLE, RankSlice, Share

__all__ = [
    "ALONE",
    "WHOLE",
    "GradientSum",
    "Peers",
    "RankSlice",
    "Share",
    "device_name",
    "is_launched",
    "joined",
]
