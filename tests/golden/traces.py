"""Twenty losses of a training run on real digits, as hexadecimal floats, and how to write them.

`python -m tests.golden.traces` writes tests/golden/traces.json anew, from the repository root: only
after a change that is meant to change what training computes.
"""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from cnnlab import data, models, training
from cnnlab.config import choices
from cnnlab.config.augment import AugmentConfig
from cnnlab.config.data import DatasetConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.schedules import ScheduleConfig
from cnnlab.config.schema import parse
from cnnlab.config.training import OptimizerConfig, TrainerConfig
from cnnlab.data.augment import build_augment
from cnnlab.data.inputs import Inputs
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.stats import preprocessing_for
from cnnlab.data.stream import Batch, Stream
from cnnlab.training import optimizers, schedules
from cnnlab.training.loop import StepReport, TrainState, fit
from tests.golden.processor import processor

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("traces.json")
NUM_STEPS, SEED = 20, 0
CPU = torch.device("cpu")

SHARED = {"weight_decay": 0.0005, "decay_biases": True, "bias_rate_factor": 1.0, "groups": []}
RULES: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.9},
    "sgd_2012": {"learning_rate": 0.01, "momentum": 0.9},
    "adamw": {"learning_rate": 0.002, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
}
CASES = {
    f"{model}-{rule}": (model, rule, parts)
    for model, rule, parts in (
        ("lenet5", "sgd", 1),
        ("lenet5", "sgd_2012", 4),
        ("mlp", "adamw", 1),
    )
}
"""Name -> (model, update rule, parts of a batch)."""


def section(section_class: type[Any], group: str, name: str) -> Any:
    """Read one choice of a config group with its default values."""
    return parse(section_class, choices.alone(group, name))


def trace(case: str) -> list[float]:
    """Train for NUM_STEPS steps on one thread and return the loss of each."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _trace(*CASES[case])
    finally:
        torch.set_num_threads(num_threads)


def _trace(model_name: str, rule: str, parts: int) -> list[float]:
    dataset = section(DatasetConfig, "dataset", "mnist5k")
    store = data.build(dataset).train
    preprocessing = preprocessing_for(store, dataset, 1)
    augment = build_augment(section(AugmentConfig, "augment", "crop"), mirror_allowed=False)
    prepare = preprocessing.prepare
    stream = Stream(store, BatchSampler(len(store), 64, SEED), device=CPU, prepare=prepare)
    model = models.build(
        section(ModelConfig, "model", model_name),
        in_channels=1,
        input_size_pixels=augment.output_size(dataset.image_size_pixels),
        num_classes=10,
        seed=SEED,
    )
    config = parse(OptimizerConfig, {"name": rule, **SHARED, **RULES[rule]})
    state = TrainState(model, optimizers.build(config, model))
    cosine = {"name": "cosine", "warmup_epochs": 0.1, "final_fraction": 0.1}
    schedule = schedules.build(parse(ScheduleConfig, cosine), stream.steps_per_epoch, 2 * NUM_STEPS)
    step = training.build_step(trainer(parts), device=CPU, precision="fp32", seed=SEED)

    inputs = Inputs(augment, preprocessing, SEED)

    def changed(batch: Batch) -> tuple[Tensor, Tensor]:
        return inputs(batch), batch.labels

    batches = map(changed, stream.batches())
    losses: list[float] = []

    def note(state: TrainState, report: StepReport) -> None:
        losses.append(report.loss.item())

    fit(state, batches, step, schedule.rate_at, [note], NUM_STEPS)
    return losses


def trainer(parts: int) -> TrainerConfig:
    """Return the trainer's settings; only `accumulate` matters to the step."""
    plain = yaml.safe_load((ROOT / "configs" / "train.yaml").read_text())["trainer"]
    return parse(TrainerConfig, {**plain, "clip_gradient_norm": None, "accumulate": parts})


def write() -> None:
    """Write the traces of this processor."""
    traces = {case: [loss.hex() for loss in trace(case)] for case in CASES}
    FILE.write_text(json.dumps({"processor": processor(), "traces": traces}, indent=1) + "\n")


if __name__ == "__main__":
    write()
