"""What the scripts in scripts/benchmarks/ share: the device that they time."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.benchmarks import work

FOLDER = Path(__file__).parents[1] / "scripts" / "benchmarks"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cuda:99", "--device cuda:99: runtime.device=cuda:99, but"),
        pytest.param(
            "tpu", "--device tpu: runtime.device must be auto, cpu, cuda", marks=pytest.mark.slow
        ),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_one_line(name: str, why: str) -> None:
    words = [sys.executable, str(FOLDER / "response_norm.py"), "--device", name]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("response_norm.py: ")
    assert why in line


def test_the_clock_waits_for_a_gpu_and_not_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    work.clock(torch.device("cpu"))
    assert waited_for == []
    work.clock(torch.device("cuda", 1))
    assert waited_for == [torch.device("cuda", 1)]
