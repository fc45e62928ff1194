"""Data-parallel training: torch.distributed under torchrun; one process is the plain case.

share: each rank's rows. peers: collective operations. gradients: their sums, while the backward
pass is still running. joining: start and tear down the process group, of processes that were
started alike (meeting). failure_detector: heartbeats in the launcher's store (job_store,
heartbeats) and the report of a failure (error_file).
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
