"""Configs of runs that are older than a setting: they open with what their runs did."""

import copy
import dataclasses
from dataclasses import dataclass

import pytest

from cnnlab import config
from cnnlab.config.distributed import DistributedConfig
from cnnlab.config.earlier import completed
from cnnlab.config.models import MODELS, ModelChoice, ModelConfig
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import setting
from cnnlab.config.training import OptimizerConfig, TrainerConfig
from tests.test_config import composed

YOUNGER_SECTIONS = ("loss", "ema", "which_weights")
"""Sections that stored configs may lack as a whole; each is off as composed."""


def younger(section_class) -> dict:
    """Return the settings of a dataclass that stored configs may lack, and what runs did."""
    fields = dataclasses.fields(section_class)
    return {f.name: f.metadata["earlier"] for f in fields if "earlier" in f.metadata}


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_run_older_than_any_setting_of_its_model_can_be_continued(model: str) -> None:
    now = composed("train", f"model={model}")
    before = copy.deepcopy(now)
    of_model = younger(MODELS[model].config_class) | younger(config.FineTuningConfig)
    sections = {
        "model": of_model,
        "runtime": younger(RuntimeConfig),
        "distributed": younger(DistributedConfig),
        "optimizer": younger(OptimizerConfig),
        "trainer": younger(TrainerConfig),
    }
    for section, settings in sections.items():
        for name in settings:
            del before[section][name]
        for name, value in settings.items():
            now[section][name] = value(before[section]) if callable(value) else value

    for section in YOUNGER_SECTIONS:
        del before[section]

    assert config.of_earlier_run(before) == now
    assert config.parse_train(config.of_earlier_run(before)) == config.parse_train(now)


@pytest.mark.parametrize(
    ("left_out", "exchange"),
    [
        ([], "conv3"),
        (["conv4"], "conv3"),
        (["fc7", "conv3"], "fc6"),
        (["conv3", "conv4", "conv5"], "conv3"),
    ],
)
@pytest.mark.parametrize("model", ["alexnet_two_tower", "alexnet_two_gpu"])
def test_towers_without_conv3_saw_each_other_in_fc6_alone(
    model: str, left_out: list[str], exchange: str
) -> None:
    stored = {"name": model, "without_layers": left_out}

    assert completed(ModelConfig, stored)["exchange"] == exchange
    assert completed(ModelConfig, stored | {"exchange": "none"})["exchange"] == "none"


def test_what_a_run_did_say_stays_as_said() -> None:
    stored = composed("train", "model.width=0.5", "runtime.compile=true")

    assert config.of_earlier_run(stored) == stored


@pytest.mark.parametrize("model", ["linear", "mlp", "cifar_13pct", "lenet5_1998"])
def test_a_key_of_other_models_is_not_added(model: str) -> None:
    assert "width" in younger(MODELS["lenet5"].config_class)
    assert "width" not in config.of_earlier_run({"model": {"name": model}})["model"]


@pytest.mark.parametrize("plain", [{"model": 3}, {"model": [1]}, {"model": {"name": ["x"]}}, {}])
def test_what_is_no_section_is_left_for_the_parser_to_refuse(plain: dict) -> None:
    found = config.of_earlier_run(plain)

    assert {key: found[key] for key in plain} | found == found
    assert "width" not in str(found)


def test_an_own_model_says_what_its_earlier_runs_did(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(kw_only=True)
    class Own(ModelConfig):
        depth: int = setting("of it", earlier=3)

    monkeypatch.setitem(MODELS, "own", ModelChoice(Own, "", (1, 8, 2)))

    assert completed(ModelConfig, {"name": "own"}) == {"name": "own", "depth": 3}
    assert completed(ModelConfig, {"name": "own", "depth": 9})["depth"] == 9
