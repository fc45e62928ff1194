"""What a pretended device was asked to do, one event after another, each with the line that asked.

A copy to the host that does not block leaves its target to be filled later. Until something waits
for that device the target holds garbage here (NaN, or zeros), and whoever reads it races. A copy
from pinned memory reads its source later: until something waits, whoever writes there races.
"""

import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

import cnnlab

KERNEL, COPY, BLOCKING_COPY, WAIT, MIX, RACE = (
    "kernel",
    "copy",
    "blocking copy",
    "wait",
    "mix",
    "race",
)
"""Kinds of events. copy: queued, the host continues; a blocking copy and a wait stop the host."""

_PROJECT = f"{Path(cnnlab.__file__).parent}/"
_TORCH, _PRETENCE = f"{Path(torch.__file__).parent}/", Path(__file__).parent


@dataclass(frozen=True)
class Event:
    """One thing that the device did.

    place: the line of the project that asked, if one did. thread: the name of the thread that
    asked, and waited if it was a wait.
    """

    kind: str
    operation: str
    place: str
    detail: str = ""
    thread: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}: {self.operation} {self.detail}".rstrip()


@dataclass(frozen=True, eq=False)
class _Unfilled:
    """The target of a copy to the host that nobody has waited for yet."""

    target: Tensor
    values: Tensor
    device: torch.device
    place: str


@dataclass(frozen=True, eq=False)
class _Source:
    """A pinned tensor that a device has yet to read; kept, so that nothing else gets its memory."""

    tensor: Tensor
    device: torch.device
    place: str


class Record:
    """The events of all pretended devices, and the host tensors that are still unfilled."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._unfilled: list[_Unfilled] = []
        self._sources: dict[int, _Source] = {}
        self._pinned: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self.capture_in(None)

    def capture_in(self, thread: int | None, graph: Any = None, everywhere: bool = False) -> None:
        """Let the operations of a thread go into a graph; None: of none.

        everywhere: other threads must not do what a capture forbids, either.
        """
        self._capturing_thread, self._graph, self._everywhere = thread, graph, everywhere
        self.is_broken = False

    def graph(self) -> Any:
        """Return the graph (graphs.py) that this thread captures; None: it captures none."""
        return self._graph if threading.get_ident() == self._capturing_thread else None

    def _forbid(self, operation: str, of_others: bool = False) -> None:
        """Raise as CUDA does for an operation that a capture forbids."""
        if self._graph is not None and (self.graph() or (of_others and self._everywhere)):
            self.is_broken = True
            raise RuntimeError(f"operation not permitted when stream is capturing: {operation}")

    def clear(self) -> None:
        """Forget the events so far; unfilled targets stay unfilled."""
        self.events.clear()

    def add(self, kind: str, operation: str, detail: str = "") -> None:
        """Add an event that the code now running asked for."""
        if kind in (WAIT, BLOCKING_COPY):
            self._forbid(operation)
        place, thread = place_of(sys._getframe(1)), threading.current_thread().name
        self.events.append(Event(kind, operation, place, detail, thread))

    def counts(self) -> Counter[str]:
        """Return the number of events of each kind."""
        return Counter(event.kind for event in self.events)

    def threads_of(self, *kinds: str) -> set[str]:
        """Return the names of the threads that asked for events of these kinds."""
        return {event.thread for event in self.events if event.kind in kinds}

    def of(self, *kinds: str) -> list[str]:
        """Return the events of these kinds as text, to be compared or shown."""
        return [str(event) for event in self.events if event.kind in kinds]

    def table(self, *kinds: str) -> str:
        """Return the events of these kinds, counted by what and where, most frequent first."""
        counted = Counter(self.of(*kinds)).most_common()
        return "\n".join(f"{number:4} {event}" for event, number in counted)

    def fill_later(self, target: Tensor, device: torch.device) -> None:
        """Put garbage into a host tensor until someone waits for `device`."""
        values, target = target.clone(), target.data
        target.fill_(float("nan") if target.is_floating_point() else 0)
        self._unfilled.append(_Unfilled(target, values, device, place_of(sys._getframe(1))))

    def pin(self, tensor: Tensor) -> Tensor:
        """Return a copy of a host tensor in memory that devices read by themselves."""
        self._forbid("pin_memory", of_others=True)
        copied = tensor.clone()
        self._pinned.add(copied.untyped_storage())
        return copied

    def is_pinned(self, tensor: Tensor) -> bool:
        """Return whether a host tensor is in such memory."""
        return tensor.untyped_storage() in self._pinned

    @property
    def is_reading(self) -> bool:
        """Return whether a device has yet to read something from the host."""
        return bool(self._sources)

    def read_later(self, source: Tensor, device: torch.device) -> None:
        """Note that `device` has yet to read a pinned tensor."""
        place = place_of(sys._getframe(1))
        self._sources[_memory_of(source)] = _Source(source, device, place)

    def waited_for(self, device: torch.device | None = None) -> None:
        """Fill the targets of copies from `device`, or from all devices; its sources were read."""
        unread = {m: s for m, s in self._sources.items() if device not in (None, s.device)}
        self._sources = unread
        over = [u for u in self._unfilled if device in (None, u.device)]
        self._unfilled = [u for u in self._unfilled if u not in over]
        for unfilled in over:
            unfilled.target.copy_(unfilled.values)

    def touched(self, operation: str, tensors: Iterable[Tensor]) -> None:
        """Add a race for each unfilled target whose memory `operation` uses."""
        if not self._unfilled:
            return
        memory = {_memory_of(tensor) for tensor in tensors}
        for unfilled in self._unfilled:
            if _memory_of(unfilled.target) in memory:
                self.add(RACE, operation, f"uses what {unfilled.place} copies without blocking")

    def written(self, operation: str, tensors: Iterable[Tensor]) -> None:
        """Add a race for each source of a copy that `operation` overwrites on the host."""
        for tensor in tensors:
            if source := self._sources.get(_memory_of(tensor)):
                detail = f"overwrites what {source.place} copies without blocking"
                self.add(RACE, operation, detail)


def _memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def place_of(frame: FrameType | None) -> str:
    """Return the innermost line of the project, or else that of whoever called torch."""
    caller = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PROJECT):
            return f"{name.removeprefix(_PROJECT)}:{frame.f_lineno}"
        if not caller and not _only_passes_on(name):
            caller = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return caller


@cache
def _only_passes_on(name: str) -> bool:
    """Return whether a file is torch's, or of the pretence but not a test."""
    path = Path(name)
    own = path.parent == _PRETENCE and not path.name.startswith("test_")
    return own or name.startswith((_TORCH, "<"))
