"""Device, precision, threads, random numbers; the only module that sets torch-global state.

A call from Python has it put back (host.py).
"""

import ctypes
import hashlib
import os
import platform
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from cnnlab import mps
from cnnlab.cpu import thread_count
from cnnlab.cpu.processors import budget
from cnnlab.cpu.thread_count import Threads
from cnnlab.errors import ResourceError, UsageError


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Return a 64-bit seed that depends on nothing but (seed, purpose, index).

    The first eight bytes of SHA-256 of "seed/purpose/index". torch's CPU generator uses 32 of
    them. Purposes: init, order, augment, dropout, split.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def make_generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return a CPU generator that is a function of (seed, purpose, index)."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, index))


def dropout_seeder(
    seed: int, device: torch.device, rank: int = 0, world_size: int = 1
) -> Callable[[int], None]:
    """Return pass_number -> None, which seeds the generator that dropout on `device` draws from.

    pass_number: the forward pass since the start of training. Every rank gets masks of its own.
    It is called before each forward pass of training and so seeds one generator, in a few
    microseconds, not all of them as torch.manual_seed does.
    """
    manual_seed: Callable[[int], object] = torch.default_generator.manual_seed
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        manual_seed = torch.cuda.default_generators[index].manual_seed
    elif device.type == "mps":
        manual_seed = torch.mps.manual_seed

    def seed_dropout(pass_number: int) -> None:
        index = pass_number * world_size + rank
        manual_seed(derive_seed(seed, "dropout", index))

    return seed_dropout


def select_device(name: str) -> torch.device:
    """Return the device called auto, cpu, cuda, cuda:N or mps; auto is CUDA if available, else cpu.

    Raises ResourceError for a device that does not exist, UsageError for any other name.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")

    if name in ("mps", "mps:0"):
        return mps.find(name)

    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise UsageError(f"runtime.device must be auto, cpu, cuda, cuda:N or mps, got {name!r}")

    index = int(number or 0)
    if not torch.cuda.is_available():
        why = "torch has no CUDA support" if torch.version.cuda is None else "torch finds no GPU"
        raise ResourceError(f"runtime.device={name}, but {why}", hint="runtime.device=cpu works")
    if index >= (count := torch.cuda.device_count()):
        raise ResourceError(f"runtime.device={name}, but this machine has {count} CUDA device(s)")
    return torch.device("cuda", index)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on `device`; the host waits only where it could read what is not there yet.

    An asynchronous copy to the CPU returns memory that the device has yet to fill. Towards another
    device the copy is ordered before whatever the device computes next.
    """
    return tensor.to(device, non_blocking=device.type not in ("cpu", "mps"))


def describe_device(device: torch.device) -> str:
    """Return e.g. 'cpu (AMD EPYC, 2 threads)' or 'cuda:0 (NVIDIA H200, 139 GiB)'."""
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return f"{device} ({facts.name}, {facts.total_memory / 2**30:.0f} GiB)"
    if device.type == "mps":
        return f"{device} ({processor_name()})"
    threads = torch.get_num_threads()
    return f"{device} ({processor_name()}, {threads} thread{'s' if threads > 1 else ''})"


@cache
def processor_name() -> str:
    """Return the processor's name as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine() or "unknown processor"


def configure(
    device: torch.device,
    *,
    precision: str = "fp32",
    num_threads: int | None = None,
    deterministic: bool = False,
) -> None:
    """Set every torch-global switch that a run depends on, so that no run inherits another's.

    fp32 means float32 throughout: torch itself would let cuDNN convolutions use TF32.
    num_threads: None is one for each core, until `use_threads` knows the work. deterministic: CUDA
    kernels that repeat bit for bit, and an error for those that cannot; a CPU always repeats.
    """
    strict = deterministic and device.type == "cuda"
    if device.type == "cuda":
        _prepare_cublas(strict)  # before anything computes there

    keep_freed_memory()
    use_threads(device, num_threads)
    _allow_tf32(precision == "tf32")

    _use_deterministic_algorithms(strict)
    torch.backends.cudnn.deterministic = strict
    torch.backends.cudnn.benchmark = not strict

    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _prepare_cublas(strict: bool) -> None:
    """Choose a cuBLAS workspace that can repeat bit for bit, also for a job that need not.

    cuBLAS and torch read the variable once per process, at the first product, so a deterministic
    job after another, as in a sweep, could not set it any more. It costs memory alone: 32 MiB per
    stream, which is torch's own choice on an H100 and 24 MiB more than that on earlier cards.
    Raises UsageError where a deterministic job finds another workspace in the environment.
    """
    chosen = os.environ.setdefault(_CUBLAS_VARIABLE, _REPEATABLE_WORKSPACES[0])
    if strict and chosen not in _REPEATABLE_WORKSPACES:
        raise UsageError(
            f"runtime.deterministic=true, but {_CUBLAS_VARIABLE}={chosen} in the environment",
            hint=f"unset it, or set it to {' or '.join(_REPEATABLE_WORKSPACES)}",
        )


_CUBLAS_VARIABLE, _REPEATABLE_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
"""Source: torch's documentation of use_deterministic_algorithms."""


def _allow_tf32(allowed: bool) -> None:
    """Let float32 products and convolutions on CUDA use TF32, or not; on a CPU neither does.

    torch has an older and a newer family of switches, and raises from the getters of the older
    where they differ: in `torch.backends.cudnn.flags`, and while compiling. The older ones come
    first, because they also reset some of the newer ones.
    """
    precision = "tf32" if allowed else "ieee"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Please use the new API settings")  # torch 2.10
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed

    torch.backends.fp32_precision = "none"  # type: ignore[attr-defined]
    torch.backends.mkldnn.conv.fp32_precision = "none"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.fp32_precision = precision  # what cudnn.flags() brings back
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = precision  # type: ignore[attr-defined]


def _use_deterministic_algorithms(strict: bool) -> None:
    """Set torch's switch if it differs: setting it imports the compiler, which takes a second."""
    now = torch.are_deterministic_algorithms_enabled()
    if now != strict or torch.is_deterministic_algorithms_warn_only_enabled():
        torch.use_deterministic_algorithms(strict)


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next batch; return whether it accepted.

    By default it returns activations to the system after each batch and faults every page in again
    for the next: 2,500 faults and 8 ms per batch of 256 for LeNet, whose forward pass takes 12.
    Other C libraries are left alone. The process keeps up to 256 MB.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False  # not glibc
    trimmed = adjust(_M_TRIM_THRESHOLD, 256 << 20)
    return bool(trimmed and adjust(_M_MMAP_THRESHOLD, 32 << 20))


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Source: malloc.h of glibc."""


def use_threads(
    device: torch.device, asked: int | None, multiply_adds: int | None = None
) -> Threads:
    """Let torch compute with as many threads as the work of one pass feeds; return how many.

    asked: `runtime.num_threads`, which is obeyed. multiply_adds: of the forward pass of one batch;
    None: not known. On a GPU the work there feeds no thread of the host.
    """
    work = multiply_adds if device.type == "cpu" else None
    torchs = _first_num_threads()
    threads = thread_count.choose(asked, budget(), of_torch=torchs, multiply_adds=work)
    torch.set_num_threads(threads.number)
    return threads


def continue_with_threads(now: Threads, recorded: object) -> Threads:
    """Let torch compute with the threads of the checkpoint that a run continues from."""
    threads = thread_count.as_before(now, recorded, budget())
    torch.set_num_threads(threads.number)
    return threads


@cache
def _first_num_threads() -> int:
    """Return the thread count at the first call: before anything here changed it."""
    return torch.get_num_threads()


def forward_precision(
    precision: str, device: torch.device
) -> Callable[[], AbstractContextManager[object]]:
    """Return a factory for the context of a forward pass; weights and updates stay float32."""
    if precision == "bf16":
        return partial(torch.autocast, device.type, dtype=torch.bfloat16)
    return nullcontext


def precision_warning(precision: str, device: torch.device) -> str | None:
    """Return in one line why `precision` gains nothing on `device`, or None."""
    if precision == "tf32" and (device.type != "cuda" or _capability(device) < (8, 0)):
        return f"precision=tf32 has no effect on {device}: it computes in fp32"
    if precision == "bf16" and device.type == "cpu" and not _cpu_has_bf16():
        return "precision=bf16 on a processor without bf16 instructions is slower than fp32"
    if precision == "bf16" and device.type == "cuda" and _capability(device) < (8, 0):
        return f"precision=bf16 on {device}, which has no bf16 units, is slower than fp32"
    return None


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def _cpu_has_bf16() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512_bf16" in flags.read_text()
