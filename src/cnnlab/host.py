"""The program that calls cnnlab from Python gets everything back as it was before the call.

Streams, signal handlers, the search for modules, torch's global switches and random numbers. One
call computes at a time: calls of several threads wait for one another, since each would take the
other's switches for the program's. glibc keeps the memory that a call has freed
(`runtime.keep_freed_memory`): that alone cannot be undone.
"""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cnnlab import interrupts, streams

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
"""Set by `runtime.configure` where there is a GPU."""

_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # a worker may be forked while another thread computes
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Run the block as a call of a host program: alone, and without a trace."""
    guarded = streams.guarded(ends=False, is_ours=False)
    with _lock, _search_for_modules(), interrupts.in_a_host(), guarded:
        yield


@contextlib.contextmanager
def _search_for_modules() -> Iterator[None]:
    """Take the current folder out of sys.path again, where plugins of the call have put it."""
    was_there = "" in sys.path
    try:
        yield
    finally:
        if not was_there and "" in sys.path:
            sys.path.remove("")


@contextlib.contextmanager
def torch_unchanged() -> Iterator[None]:
    """Put torch's global switches and random numbers back after the block, which is plain torch."""
    before = [(switch, switch.read()) for switch in _switches()]
    try:
        with plain_torch():
            yield
    finally:
        for switch, value in before:
            if value != switch.read():
                switch.write(value)


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Make tensors on the CPU in the block, with gradients and without autocast.

    Whatever contexts the program has entered around its call. They are those of a thread.
    """
    with contextlib.ExitStack() as stack:
        for context in _plain_contexts():
            stack.enter_context(context)
        yield


def _plain_contexts() -> Iterator[contextlib.AbstractContextManager[object]]:
    """Yield what switches off the contexts that the program may have entered."""
    import torch

    if torch.is_inference_mode_enabled():
        yield torch.inference_mode(False)
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            yield torch.autocast(kind, enabled=False)


class _Switch(NamedTuple):
    """How a global switch is read and written."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _switches() -> list[_Switch]:
    """Return all that `runtime.configure` and a training change, in the order of writing it back.

    The older switches of TF32 come before the newer ones, some of which they reset.
    """
    import torch

    backends: Any = torch.backends
    owners = (
        *(backends, backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul),
        *(backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn),
    )
    return [
        _Switch(torch.get_num_threads, torch.set_num_threads),
        _Switch(torch.is_grad_enabled, torch.set_grad_enabled),
        _Switch(torch.get_default_dtype, torch.set_default_dtype),
        _Switch(_deterministic, _set_deterministic),
        _attribute(backends.cudnn, "deterministic"),
        _attribute(backends.cudnn, "benchmark"),
        _older(_Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)),
        _older(_attribute(backends.cuda.matmul, "allow_tf32")),
        _older(_attribute(backends.cudnn, "allow_tf32")),
        *(_attribute(owner, "fp32_precision") for owner in owners),
        _Switch(_cuda_device, torch.cuda.set_device),
        _Switch(_random_state, _set_random_state),
        _Switch(_cublas_workspaces, _set_cublas_workspaces),
    ]


def _attribute(owner: Any, name: str) -> _Switch:
    return _Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _older(switch: _Switch) -> _Switch:
    """Return an older switch of TF32 that is left alone where only the newer ones can say it."""

    def read() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 2.10 recommends the newer ones
            try:
                return switch.read()
            except RuntimeError:  # they differ from one another
                return None

    def write(value: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if value is not None:
                switch.write(value)

    return _Switch(read, write)


def _deterministic() -> tuple[bool, bool]:
    import torch

    is_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), is_warning


def _set_deterministic(value: tuple[bool, bool]) -> None:
    import torch

    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _cuda_device() -> int:
    """Return the current CUDA device, which `runtime.configure` sets; 0 where none was used."""
    import torch

    return torch.cuda.current_device() if torch.cuda.is_initialized() else 0


def _random_state() -> list[bytes]:
    """Return the state of torch's global generators; a call seeds them for dropout."""
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy().tobytes() for state in states]


def _set_random_state(value: list[bytes]) -> None:
    import torch

    on_cpu, *on_cuda = (torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in value)
    torch.set_rng_state(on_cpu)
    if on_cuda:
        torch.cuda.set_rng_state_all(on_cuda)


def _cublas_workspaces() -> str | None:
    return os.environ.get(CUBLAS_VARIABLE)


def _set_cublas_workspaces(value: str | None) -> None:
    if value is None:
        os.environ.pop(CUBLAS_VARIABLE, None)
    else:
        os.environ[CUBLAS_VARIABLE] = value
