"""What fails inside an exchange is named: this process's memory or device, or another process."""

import pytest
import torch
import torch.distributed as dist

from cnnlab.distributed.failure_detector import FailureDetector
from cnnlab.distributed.joining import cause_of
from cnnlab.distributed.peers import Peers
from cnnlab.distributed.share import Share
from cnnlab.errors import PeerLostError


@pytest.fixture
def peers() -> Peers:
    """Return the first of two processes, of which the other has reported a failure."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    detector = FailureDetector(store, Share(0, 2), timeout_seconds=60)
    store.set("ended/1", "killed")
    return Peers(Share(0, 2), detector=detector)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "out of memory"),
        (
            dist.DistBackendError("NCCL error\nLast error:\nCuda failure 2 'out of memory'"),
            "out of memory",
        ),
        (
            torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
            "AcceleratorError: CUDA error: an illegal",
        ),
    ],
)
def test_a_failure_of_its_own_is_not_blamed_on_another_process(
    error: RuntimeError, cause: str, peers: Peers
) -> None:
    with pytest.raises(type(error)) as caught, peers.collective():
        raise error
    assert caught.value is error
    assert cause_of(error).startswith(cause)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("Connection closed by peer"), dist.DistBackendError("NCCL error: remote exit")],
)
def test_a_broken_connection_names_the_lost_process(error: RuntimeError, peers: Peers) -> None:
    with pytest.raises(PeerLostError, match="process 1 of 2 was lost: killed"), peers.collective():
        raise error
