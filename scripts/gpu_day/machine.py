"""What the day runs on: card, driver, versions; and the limits of its memory and its units."""

import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import Any

import torch

from cnnlab import runtime
from cnnlab.errors import CnnlabError
from cnnlab.runtime import processor_name, select_device
from cnnlab.trainer.throughput import Roofline
from scripts.gpu_day.part import NO_DEVICE
from scripts.gpu_day.task import Task

OLDEST_TORCH = (2, 10)
LIBRARIES = ("torch", "torchvision", "triton", "numpy", "hydra-core", "omegaconf", "pytest", "timm")


def find(task: Task) -> int | None:
    """Note what is there; return 6 with a last line that says why, where nothing can run."""
    major, minor, *_ = (int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if (major, minor) < OLDEST_TORCH:
        print(f"cnnlab: torch {torch.__version__} is older than 2.10; nothing was checked")
        return NO_DEVICE
    try:
        device = select_device(task.device)
    except CnnlabError as error:
        print(f"cnnlab: {error.what}; nothing was checked")
        return NO_DEVICE

    facts = card(device) if device.type == "cuda" else {}
    name = facts.get("card", f"{processor_name()}, a rehearsal")
    driver = f", driver {facts['driver']}" if facts else ""
    task.note(
        f"{name}{driver}, torch {torch.__version__}, CUDA {torch.version.cuda}",
        **facts,
        processor=processor_name(),
        num_processors=os.cpu_count(),
        cuda=torch.version.cuda,
        versions=versions(),
    )
    return None


def card(device: torch.device) -> dict[str, Any]:
    """Return what the driver and torch tell of a CUDA device."""
    facts = torch.cuda.get_device_properties(device)
    return {
        "card": facts.name,
        "num_gpus": torch.cuda.device_count(),
        "memory_bytes": facts.total_memory,
        "capability": list(torch.cuda.get_device_capability(device)),
        "num_multiprocessors": facts.multi_processor_count,
        "driver": driver(),
        "cudnn": torch.backends.cudnn.version(),
    }


def driver() -> str:
    """Return the version of NVIDIA's driver, from its own tool or from the system."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"


def versions() -> dict[str, str]:
    """Return the versions of what is installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def limits(task: Task) -> None:
    """Note how fast the device copies, and multiplies in each precision."""
    device = select_device(task.device)
    for precision in ("fp32",) if task.is_rehearsal else ("bf16", "tf32", "fp32"):
        runtime.configure(device, precision=precision)
        found = Roofline.measured(device, precision)
        task.note(
            f"{precision}: {found.flop_per_second / 1e12:.1f} TFLOP/s in matrix products, "
            f"{found.copy_bytes_per_second / 1e9:.0f} GB/s in copies",
            precision=precision,
            flop_per_second=found.flop_per_second,
            copy_bytes_per_second=found.copy_bytes_per_second,
        )
