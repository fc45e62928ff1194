"""A model of your own, start to end: a module, a YAML file beside it, and two words on the line.

Without a YAML file: tests/test_extending.py.
"""

import json
from pathlib import Path

import pytest

from cnnlab.cli import main
from tests.own_modules import forgotten

MODULE = """
from dataclasses import dataclass

from torch import nn

from cnnlab.config.models import MODELS, ModelChoice, ModelConfig
from cnnlab.config.schema import setting
from cnnlab.models import Layer, Network


@dataclass(kw_only=True)
class TinyConfig(ModelConfig):
    width: int = setting("maps of the one convolution", at_least=1)


def tiny(config, task, generator):
    side = task.input_size_pixels // 4
    layers = [
        Layer("conv1", "conv", nn.Conv2d(task.in_channels, config.width, 3, padding=1)),
        Layer("relu1", "rectifier", nn.ReLU()),
        Layer("pool1", "pool", nn.MaxPool2d(4)),
        Layer("flatten", "flatten", nn.Flatten()),
        Layer("output", "fc", nn.Linear(config.width * side**2, task.num_classes)),
    ]
    return Network(layers, task)


MODELS.register("tiny", ModelChoice(TinyConfig, tiny, usual_input=(1, 32, 10)))
"""


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_tiny_models.py").write_text(MODULE)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tiny.yaml").write_text("name: tiny\nwidth: 3\n")
    with forgotten():
        yield ["--config-dir", str(tmp_path), "model=tiny", "plugins=[my_tiny_models]"]


def test_an_own_model_is_summed_up_trained_and_evaluated(own_model, tmp_path, capsys):
    assert main(["summary", *own_model, "format=json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_parameters"] == 3 * 9 + 3 + 3 * 64 * 10 + 10
    assert summary["layers"][2]["receptive_field_pixels"] == 6
    run = tmp_path / "run"
    few = ["trainer.epochs=1", "trainer.limit_train_batches=2", "logging.tensorboard=false"]
    words = [*few, "logging.report=false", "runtime.num_threads=1", f"hydra.run.dir={run}"]
    assert main(["train", *own_model, "model.width=2", *words]) == 0
    capsys.readouterr()
    assert main(["evaluate", f"checkpoint={run}", "plugins=[my_tiny_models]", "format=json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["top1_error"] == json.loads((run / "run.json").read_text())["test_error"]


def test_its_settings_are_checked_like_the_others(own_model, capsys):
    assert main(["summary", *own_model, "model.width=0"]) == 2
    assert "model.width must be an integer at least 1" in capsys.readouterr().err
