"""A CUDA device that is not there: its tensors say cuda:N and compute on the CPU.

Inside `pretended()` torch finds CUDA devices. Every operation on one of their tensors is recorded
with the line of the project that asked for it (record.py): kernels, copies, waits of the host, and
two kinds of faults: operations whose operands are on several devices, which raise as on a real
device, and races, where the host reads what a copy has not delivered yet, or overwrites what one
has not read yet. A copy from memory that is not pinned blocks, whatever it was asked to do. Only
torch's device is pretended; the project's own code runs as it is.

To C++ the tensors are on the meta device, so that autograd needs no driver; Python sees cuda:N.
A random operation draws from the generator of its device, which is a CPU generator, so that masks
are those of a CPU with the same seed.

What it cannot show:
- Autocast: C++ asks its tensors for their device and hears meta, so nothing is cast to bfloat16.
- Streams: one order of operations for each device, that of the calls; what two streams do at the
  same time, and a missing wait of one for another, are not seen, `record_stream` does nothing.
- Graphs (graphs.py): the memory that several share, autotuning and compiling while they capture.
- torch.compile, Triton and NCCL.
- Real kernels: their rounding, their time, and how many of them torch makes of one operation; each
  operation below autograd counts as one. Dropout counts three where CUDA fuses one.
- Races through NumPy (of a read, the garbage is there, though).
- A device without a number: `tensor.to("cuda")` asks the driver which one is meant.
- Memory: nothing ever runs out of it.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from threading import Thread
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # else torch does so at the first operation, and stumbles

from tests.pretended.graphs import Graph, capturing
from tests.pretended.machine import Machine
from tests.pretended.record import WAIT, Record
from tests.pretended.tensor import home_of, whole

FREE_BYTES = 80 << 30


class _Stream:
    """A stream of a pretended device: there is one order of operations."""

    def __init__(self, record: Record, device: Any = None) -> None:
        self._record, self._device = record, device

    def synchronize(self) -> None:
        self._record.add(WAIT, "stream.synchronize")
        self._record.waited_for()

    def is_capturing(self) -> bool:
        return False

    def wait_stream(self, other: "_Stream") -> None:
        """Do nothing: operations run in the order of the calls."""


def _group_by_device(lists: list[list[Any]], with_indices: bool = False) -> dict[Any, Any]:
    """Group tensors as torch does in C++, by the devices that they say they are on."""
    groups: dict[Any, Any] = {}
    for index, first in enumerate(lists[0]):
        columns, indices = groups.setdefault(
            (home_of(first), first.dtype), ([[] for _ in lists], [])
        )
        indices.append(index)
        for column, whole_list in zip(columns, lists, strict=True):
            if whole_list:
                column.append(whole_list[index])
    return groups


def _pretended_torch(record: Record, generators: tuple[torch.Generator, ...]) -> dict[str, Any]:
    """Return what stands in for parts of torch that ask a driver, by their names."""

    def synchronize(device: Any = None) -> None:
        record.add(WAIT, "synchronize")
        record.waited_for(None if device is None else whole(device))

    properties = mock.Mock(total_memory=FREE_BYTES)
    properties.name = "pretended"
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    grouping = "_group_tensors_by_device_and_dtype"
    return {
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.init": nothing,
        "torch.cuda._lazy_init": nothing,
        "torch.cuda.device_count": lambda: len(generators),
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.set_device": nothing,
        "torch.cuda.default_generators": generators,
        "torch.cuda.mem_get_info": lambda device=None: (FREE_BYTES, FREE_BYTES),
        "torch.cuda.get_device_capability": lambda device=None: (9, 0),
        "torch.cuda.get_device_properties": lambda device=None: properties,
        "torch.cuda.is_current_stream_capturing": lambda: record.graph() is not None,
        "torch.cuda.CUDAGraph": partial(Graph, record),
        "torch.cuda.graph": partial(capturing, record),
        "torch.cuda.graph_pool_handle": object,
        "torch.accelerator.current_stream": lambda device=None: _Stream(record, device),
        "torch.cuda.Stream": lambda device=None: _Stream(record, device),
        "torch.cuda.stream": lambda stream: contextlib.nullcontext(),
        "torch.cuda.current_stream": lambda device=None: _Stream(record, device),
        "torch.cuda.synchronize": synchronize,
        "torch.Tensor.pin_memory": lambda tensor, *_: record.pin(tensor),
        "torch.Tensor.is_pinned": lambda tensor, *_: record.is_pinned(tensor),
        "torch.Tensor.record_stream": nothing,
        f"torch.nn.utils.clip_grad.{grouping}": _group_by_device,
        f"torch.optim.optimizer.{grouping}": _group_by_device,
    }


@contextlib.contextmanager
def pretended(num_devices: int = 2) -> Iterator[Record]:
    """Let torch find CUDA devices inside the block; yield the record of what they do."""
    record, generators = Record(), tuple(torch.Generator() for _ in range(num_devices))
    run_thread = Thread.run

    def run(thread: Thread) -> None:
        """Run a thread that knows the devices as well: torch's modes are those of one thread."""
        with Machine(record, generators):
            run_thread(thread)

    with contextlib.ExitStack() as stack:
        for name, value in _pretended_torch(record, generators).items():
            stack.enter_context(mock.patch(name, value))
        stack.enter_context(mock.patch.object(Thread, "run", run))
        stack.enter_context(_switches())
        stack.enter_context(Machine(record, generators))
        yield record


@contextlib.contextmanager
def _switches() -> Iterator[None]:
    """Let modules get new parameters, and torch.tensor fill a CPU tensor that is copied then."""
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    lifts_only = torch._C._only_lift_cpu_tensors()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
        torch._C._set_only_lift_cpu_tensors(lifts_only)
