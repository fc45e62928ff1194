"""A plugin whose network fails as the variable FAULT says: "how rank step", once trained so far."""

import os
import signal
import time

import torch
from torch import Tensor

from cnnlab import models
from cnnlab.config.models import MODELS, Lenet5Config, ModelChoice
from cnnlab.models.lenet5 import lenet5


class Fault:
    """Fails in the n-th training forward pass of one process."""

    def __init__(self) -> None:
        how, rank, step = os.environ.get("FAULT", "none 0 0").split()
        self.how, self.step, self.num_passes = how, int(step), 0
        first_attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        self.is_here = first_attempt and rank == os.environ.get("RANK", "0")

    def __call__(self, module: object, inputs: tuple[Tensor, ...]) -> None:
        self.num_passes += bool(getattr(module, "training", False))
        if not self.is_here or self.num_passes != self.step:
            return
        if self.how == "raise":
            raise RuntimeError("a fault on purpose")
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "memory":
            torch.empty(1 << 48, dtype=torch.uint8)  # more than any machine maps
        number = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "freeze": signal.SIGSTOP}
        if self.how in number:
            os.kill(os.getpid(), number[self.how])


def build(config, task, generator) -> models.Network:  # type: ignore[no-untyped-def]
    network = lenet5(config, task, generator)
    network.register_forward_pre_hook(Fault())
    return network


MODELS.register("faulty", ModelChoice(Lenet5Config, build, (1, 32, 10)))
