"""The project's own training and evaluation, driven on a device that exists or is pretended."""

from dataclasses import dataclass
from functools import cache

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from cnnlab import runtime
from cnnlab.command.composing import parse
from cnnlab.command.verbs import VERBS
from cnnlab.config import TrainConfig, choices
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.training.hooks import RunningLoss
from cnnlab.training.loop import Batches, StepReport, TrainState, fit

DIGITS = (
    "dataset=mnist5k",
    "runtime.kernels=plain",
    "trainer.batch_size=8",
    "optimizer.learning_rate=0.01",
)
PATTERNS = (
    "runtime.kernels=plain",
    "dataset=synthetic",
    "dataset.num_train=24",
    "dataset.num_validation=8",
    "dataset.num_test=8",
    "dataset.num_classes=4",
    "dataset.image_size_pixels=72",
    "augment=alexnet",
    "augment.crop_pixels=64",
    "trainer.batch_size=4",
    "optimizer.learning_rate=0.001",
)
NARROW = ("model.width=0.125", "model.initialization=kaiming")
CASES: dict[str, tuple[str, ...]] = {
    "lenet5": (*DIGITS, "model=lenet5"),
    "lenet5 with dropout": (*DIGITS, "model=lenet5", "model.dropout=0.5"),
    "lenet5 in two parts": (*DIGITS, "model=lenet5", "trainer.accumulate=2", "optimizer=adamw"),
    "lenet5 of 1998": (*DIGITS, "model=lenet5_1998", "optimizer=levenberg_marquardt"),
    "narrow alexnet": (*PATTERNS, *NARROW, "optimizer=sgd_2012", "model=alexnet"),
    "two towers": (*PATTERNS, *NARROW, "optimizer=sgd_2012", "model=alexnet_two_tower"),
    "alexnet of 2014": (*PATTERNS, *NARROW, "model=alexnet_2014"),
}
"""Settings of short trainings by name."""

SPLIT = (*PATTERNS, *NARROW, "optimizer=sgd_2012", "model=alexnet_two_gpu")
PAIRS = ("[cuda:0,cuda:1]", "[cpu,cuda:0]", "[cuda:0,cpu]")
"""Devices of the two towers of SPLIT."""


@cache
def configure(*words: str) -> TrainConfig:
    """Return the settings of `cnnlab train WORDS`."""
    with initialize_config_dir(str(choices.configs_folder()), version_base="1.3"):
        config = parse(VERBS["train"], compose("train", list(words)), list(words))
    assert isinstance(config, TrainConfig)
    return config


@dataclass
class Training:
    """A training that was assembled and can be continued."""

    parts: Assembly
    state: TrainState
    losses: list[Tensor]
    running_loss: RunningLoss
    batches: Batches

    @classmethod
    def start(cls, words: tuple[str, ...], device: str) -> "Training":
        """Assemble the training that `words` describe on `device`."""
        config, home = configure(*words), torch.device(device)
        runtime.configure(home, precision=config.runtime.precision, num_threads=1)
        parts = assemble(config, home)
        state = TrainState(parts.network, parts.optimizer)
        return cls(parts, state, [], RunningLoss(parts.device), parts.batches())

    def train(self, num_steps: int) -> None:
        """Make so many more updates, with the project's loop."""
        parts, state = self.parts, self.state
        hooks, last = [self.running_loss, self._keep_loss], state.step + num_steps
        fit(state, self.batches, parts.step, parts.schedule.rate_at, hooks, last)

    def _keep_loss(self, state: TrainState, report: StepReport) -> None:
        self.losses.append(report.loss)

    def weights(self) -> dict[str, Tensor]:
        """Return the network's weights on the CPU."""
        return {name: value.cpu() for name, value in self.parts.network.state_dict().items()}
