"""The loop: what it counts, what it hands to whom, and when it ends."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cnnlab.training.loop import StepReport, TrainState, fit


def state_and_batches() -> tuple[TrainState, Iterator[tuple[Tensor, Tensor]]]:
    model = nn.Linear(1, 1)
    groups = [
        {"params": [model.weight], "base_rate": 0.5, "lr": 0.5},
        {"params": [model.bias], "base_rate": 2.0, "lr": 2.0},
    ]
    state = TrainState(model, torch.optim.SGD(groups))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        number = state.step
        while True:
            yield torch.full((1, 1), float(number)), torch.zeros(1, dtype=torch.int64)
            number += 1

    return state, batches()


class Recorder:
    """A step and a hook that write down what they see."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, list[float], bool]] = []
        self.hooked: list[tuple[int, float]] = []

    def step(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        rates = [group["lr"] for group in state.optimizer.param_groups]
        self.seen.append((state.step, images.item(), rates, state.model.training))
        return StepReport(images.sum(), images.sum(), len(labels))

    def hook(self, state: TrainState, report: StepReport) -> None:
        self.hooked.append((state.step, report.loss.item()))


def test_each_step_gets_its_batch_and_rates() -> None:
    state, batches = state_and_batches()
    recorder = Recorder()
    state.model.eval()
    fit(state, batches, recorder.step, lambda step: 1 / (step + 1), [recorder.hook], 3)
    assert recorder.seen == [
        (0, 0.0, [0.5, 2.0], True),
        (1, 1.0, [0.25, 1.0], True),
        (2, 2.0, [0.5 / 3, 2 / 3], True),
    ]
    assert recorder.hooked == [(1, 0.0), (2, 1.0), (3, 2.0)]


def test_a_hook_ends_the_run_and_the_others_still_see_the_step() -> None:
    state, batches = state_and_batches()
    recorder = Recorder()

    def stop(state: TrainState, report: StepReport) -> None:
        if state.step == 2:
            state.stop_reason = "enough"

    fit(state, batches, recorder.step, lambda step: 1.0, [stop, recorder.hook], 10)
    assert state.step == 2
    assert [step for step, _ in recorder.hooked] == [1, 2]


def test_a_finished_state_is_left_alone() -> None:
    state, batches = state_and_batches()
    state.step = 5
    recorder = Recorder()
    fit(state, batches, recorder.step, lambda step: 1.0, [recorder.hook], 5)
    assert recorder.seen == []
