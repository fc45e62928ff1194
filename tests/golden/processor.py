"""The processor and the torch that golden data was written with."""

from pathlib import Path

import torch


def processor() -> dict[str, str]:
    """Return what must be equal for floating-point results to be equal bit for bit."""
    facts: dict[str, str] = {
        "torch": torch.__version__.partition("+")[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    wanted = ("vendor_id", "cpu family", "model")
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            facts.setdefault(key.strip(), value.strip())
    return facts
