"""A data set, augmentation, optimizer and schedule of your own: one line registers each."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnlab.cli import main
from cnnlab.config import AUGMENTS, DATASETS, OPTIMIZERS
from cnnlab.errors import UsageError
from tests.own_modules import forgotten

MODULE = """
import torch

from cnnlab.config import AUGMENTS, DATASETS, OPTIMIZERS, SCHEDULES, Choice, DatasetChoice
from cnnlab.config import AugmentConfig, DatasetConfig, OptimizerConfig, ScheduleConfig
from cnnlab.data.augment import UNCHANGED
from cnnlab.data.store import ArrayStore, Splits
from cnnlab.training.schedules import Schedule
from cnnlab.training.update_rule import UpdateRule


def load(config):
    def split(name, num_images):
        labels = torch.arange(num_images) % 2
        images = (labels * 200).to(torch.uint8)[:, None, None, None].expand(num_images, 28, 28, 1)
        return ArrayStore("shades", name, images.contiguous(), labels, ("dark", "light"), True)

    return Splits(split("train", 80), None, split("test", 20))


class Signs(UpdateRule):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                moved = self.state[weight]["moved"]
                moved += weight.grad.sign()
                weight -= group["lr"] * weight.grad.sign()

    def empty_state(self, group, parameter):
        return {"moved": torch.zeros_like(parameter)}


DATASETS.register("shades", DatasetChoice(DatasetConfig, load))
AUGMENTS.register("nothing", Choice(AugmentConfig, lambda config, statistics: UNCHANGED))
OPTIMIZERS.register(
    "signs", Choice(OptimizerConfig, lambda config, groups: Signs(groups, {"lr": 0.001}))
)
SCHEDULES.register(
    "halves", Choice(ScheduleConfig, lambda config, per_epoch, total: Schedule(lambda step: 0.5))
)
"""
FILES = {
    "dataset/shades": "name: shades\nimage_size_pixels: 28\npad_pixels: 0\nnum_validation: 10\n"
    "split_seed: 0\nchannels: null\nnormalize: channel\npermutation_seed: null\nresidency: auto\n",
    "augment/nothing": "name: nothing\n",
    "optimizer/signs": "name: signs\nlearning_rate: 0.001\nweight_decay: 0\ndecay_biases: false\n"
    "bias_rate_factor: 1\n",
    "schedule/halves": "name: halves\n",
}
QUICK = ["model=linear", "runtime.num_threads=1", "logging.tensorboard=false"]
LEAN = ["logging.report=false", "logging.images_every_epochs=null"]


@pytest.fixture
def own_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_choices.py").write_text(MODULE)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(text)
    chosen = [name.replace("/", "=") for name in FILES]
    with forgotten():
        yield ["--config-dir", str(tmp_path), "plugins=[my_choices]", *chosen]


def test_own_choices_are_trained_with_resumed_and_evaluated(own_choices, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    words = [*own_choices, *QUICK, *LEAN, "trainer.epochs=1", f"hydra.run.dir={run}"]
    assert main(["train", *words]) == 0

    assert main(["train", f"resume={run}", "plugins=[my_choices]", "trainer.epochs=2"]) == 0
    facts = json.loads((run / "run.json").read_text())
    assert (facts["dataset"], facts["test_error"]) == ("shades", 0)

    capsys.readouterr()
    words = [f"checkpoint={run}", "plugins=[my_choices]", "runtime.num_threads=1", "format=json"]
    assert main(["evaluate", *words]) == 0
    assert json.loads(capsys.readouterr().out)["top1_error"] == 0


def test_built_in_choices_cannot_be_replaced() -> None:
    for table, name in ((DATASETS, "mnist"), (AUGMENTS, "crop"), (OPTIMIZERS, "sgd")):
        with pytest.raises(UsageError, match=f"'{name}' is built in"):
            table.register(name, table[name])
