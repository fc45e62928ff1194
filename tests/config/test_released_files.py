"""The parameter files of 2012, line by line, against the experiments that follow them.

Read in the released source (Computer History Museum): layers/layer-params-145.cfg and -145-2010.cfg
with the log in their comments, example-layers/layer-params-conv-local-13pct.cfg; and in the first
cuda-convnet, layer-params-conv-local-11pct.cfg with its steps. Their [conv1a] and [conv1b] are
conv1 here, [fc2048a/b] fc6, [fc2048ba/bb] fc7, [fc1000] fc8, [fc10] fc.
"""

from typing import Any, NamedTuple

import pytest

from cnnlab.config import TrainConfig, parse_train
from cnnlab.models import transfer
from cnnlab.training import optimizers, schedules
from cnnlab.training.loop import set_rates
from tests.test_config import composed

STEPS = 10
"""Steps of an epoch, where the test makes some."""


class Line(NamedTuple):
    """One section of a parameter file: rates of weights and biases, momentum of both, decay."""

    eps_w: float
    eps_b: float
    mom: float
    wc: float


class Training:
    """How an experiment trains each layer, at any epoch."""

    def __init__(self, config: TrainConfig) -> None:
        network = transfer.of_usual_size(config.model)
        self.optimizer = optimizers.build(config.optimizer, network, STEPS)
        self.schedule = schedules.build(config.schedule, STEPS, config.trainer.epochs * STEPS)

        group_of = {p: group for group in self.optimizer.param_groups for p in group["params"]}
        self.groups: dict[str, dict[str, Any]] = {}
        for name, parameter in network.named_parameters():
            layer, _, kind = name.partition(".")
            self.groups.setdefault(layer, {})[kind] = group_of[parameter]

    def lines_at(self, epoch: float) -> dict[str, Line]:
        """Return what each layer is trained with after so many epochs."""
        step = round(epoch * STEPS)
        set_rates(self.optimizer, step, self.schedule.rate_at(step))
        return {layer: self._line(**groups) for layer, groups in self.groups.items()}

    def _line(self, weight: dict[str, Any], bias: dict[str, Any]) -> Line:
        assert bias["weight_decay"] == 0
        assert weight["momentum"] == bias["momentum"]
        rates = (round(group["lr"], 12) for group in (weight, bias))
        return Line(*rates, weight["momentum"], weight["weight_decay"])


ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")

Log = dict[int, tuple[float, float, float, float]]
"""Epoch from which on -> epsW and epsB of conv1, epsW and epsB of all others."""

LOG_145: Log = {
    0: (0.01, 0.02, 0.01, 0.02),
    25: (0.001, 0.02, 0.001, 0.02),  # set epsw to 0.001 from 0.01
    51: (0.0001, 0.02, 0.0001, 0.02),  # set epsw to 0.0001 from 0.001
    67: (0.00001, 0.02, 0.0001, 0.02),  # on conv1 alone; color noise to 0 from 0.1
    72: (0, 0, 0.0001, 0.02),  # set epsw to 0 on conv1
    79: (0, 0, 0.00001, 0.02),  # set epsw to 0.00001 from 0.0001
}
LOG_145_2010: Log = {
    0: (0.01, 0.02, 0.01, 0.02),
    23: (0.001, 0.02, 0.001, 0.02),
    51: (0.0001, 0.02, 0.0001, 0.02),
    68: (0.00001, 0.02, 0.0001, 0.02),
    72: (0, 0, 0.0001, 0.02),
    78: (0, 0, 0.00001, 0.002),  # epsB as the file ends; the log does not say since when
}


@pytest.mark.parametrize(
    ("experiment", "dataset", "log", "color", "killed"),
    [
        ("alexnet_2012_source", "imagenet", LOG_145, 67, 91),
        ("alexnet_2010_source", "imagenet_2010", LOG_145_2010, 68, 93),
    ],
)
def test_run_145_is_trained_as_its_file_and_log_say(
    experiment: str, dataset: str, log: Log, color: int, killed: int
) -> None:
    config = parse_train(composed("train", f"experiment={experiment}"))
    assert config.dataset.name == dataset
    assert (config.trainer.epochs, config.trainer.batch_size) == (killed, 128)

    training = Training(config)
    for epoch in range(killed):
        first_w, first_b, other_w, other_b = log[max(start for start in log if start <= epoch)]
        wanted = {layer: Line(other_w, other_b, 0.9, 0.0005) for layer in ALEXNET}
        wanted["conv1"] = Line(first_w, first_b, 0.9, 0.0005)
        for moment in (epoch, epoch + 1 - 1 / STEPS):
            assert training.lines_at(moment) == wanted, moment

    noise: Any = config.augment
    assert (noise.color_scale, noise.color_strength, noise.color_divides) == ("stdev", 0.1, True)
    epochs, later = config.augment.later or (0, noise)
    assert (epochs, later.color_scale) == (color, "none")


CIFAR_DECAY = {"conv1": 0.0, "conv2": 0.0, "local3": 0.004, "local4": 0.004, "fc": 0.004}


@pytest.mark.parametrize("name", ["13pct", "11pct"])
def test_a_cifar_net_is_trained_as_its_file_says(name: str) -> None:
    config = parse_train(composed("train", f"experiment=cifar_{name}_cifar10"))
    training = Training(config)
    for epoch, eps_w in ((0, 0.001), (449.9, 0.001), (450, 0.0001), (460, 0.00001), (469, 0.00001)):
        wanted = {layer: Line(eps_w, 0.002, 0.9, wc) for layer, wc in CIFAR_DECAY.items()}
        assert training.lines_at(epoch) == wanted, epoch

    assert config.trainer.epochs == 450 + 10 + 10
    assert (config.dataset.name, config.dataset.normalize) == ("cifar10", "pixel")
    assert config.dataset.num_validation == 0, "batches 1 to 5"
    crop: Any = config.augment
    if name == "13pct":
        assert (crop.name, config.evaluation.name) == ("none", "center")
    else:
        assert (crop.name, crop.crop_pixels, crop.padding_pixels) == ("crop_mirror", 24, 0)
        assert config.evaluation.name == "grid_3x3"
