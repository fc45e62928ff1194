"""Several processes of one training: torch.distributed under torchrun; one is the plain case.

share: each rank's rows. peers: collective operations. gradients: their sums, while the backward
pass is still running. data_parallel, hybrid: the schemes by which processes share an update.
byte_account: what they exchange, by formula. joining: start and tear down the process group, of
processes that were started alike (meeting). failure_detector: heartbeats in the launcher's store
(job_store, heartbeats) and the report of a failure (error_file).
"""

from cnnlab.distributed.data_parallel import DataParallel
from cnnlab.distributed.gradients import GradientSum
from cnnlab.distributed.hybrid import Hybrid
from cnnlab.distributed.joining import device_name, is_launched, joined
from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.distributed.share import WHOLE, RankSlice, Share

SCHEMES: dict[str, type[DataParallel]] = {"data": DataParallel, "hybrid": Hybrid}
"""The choices of `distributed.scheme`."""

__all__ = [
    "ALONE",
    "SCHEMES",
    "WHOLE",
    "DataParallel",
    "GradientSum",
    "Hybrid",
    "Peers",
    "RankSlice",
    "Share",
    "device_name",
    "is_launched",
    "joined",
]
