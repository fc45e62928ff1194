"""`runtime.profile=true`: the time of each operator in a training step, as a trace and a table."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from cnnlab.files import atomic, regular
from cnnlab.training.loop import StepReport, TrainState

WARM_STEPS, TRACED_STEPS = 10, 20
NUM_ROWS = 30


class Profile:
    """A hook that profiles TRACED_STEPS updates of this process, after WARM_STEPS of them.

    It writes trace.json (open it at ui.perfetto.dev) and operators.txt, the operators by self time,
    into `folder`. The profiled updates are slower; what they compute is the same.
    """

    def __init__(
        self, folder: Path, device: torch.device, say: Callable[[str], None], last_step: int
    ) -> None:
        self._folder, self._device, self._say, self._last_step = folder, device, say, last_step
        self._num_steps = 0
        self._profiler: profile | None = None

    def __call__(self, state: TrainState, report: StepReport) -> None:
        self._num_steps += 1
        ends = self._num_steps == WARM_STEPS + TRACED_STEPS or state.step == self._last_step
        if self._profiler is not None and ends:
            self._finish()
        elif self._num_steps == WARM_STEPS and not ends:
            self._begin()

    def _begin(self) -> None:
        kinds = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            kinds.append(ProfilerActivity.CUDA)
        self._profiler = profile(activities=kinds, acc_events=True)
        self._profiler.start()

    def _finish(self) -> None:
        assert self._profiler is not None
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._profiler.stop()

        self._folder.mkdir(exist_ok=True)
        trace = regular.remove_before_writing(self._folder / "trace.json")
        self._profiler.export_chrome_trace(str(trace))
        own_time = "self_cuda_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        table = self._profiler.key_averages().table(sort_by=own_time, row_limit=NUM_ROWS)
        atomic.write_bytes(self._folder / "operators.txt", table.encode())
        self._profiler = None
        self._say(f"profile     {self._folder}: trace.json, operators.txt")
