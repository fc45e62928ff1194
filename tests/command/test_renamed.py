"""Keys and values with a new name: old runs are read, what is typed is refused with the new one."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnnlab import checkpoint, config
from cnnlab.cli import main
from cnnlab.config import renamed
from cnnlab.config.keys import walk
from cnnlab.run_folder import RunFolder

SMALL = [
    *("dataset=synthetic", "dataset.image_size_pixels=12", "dataset.num_train=60"),
    *("dataset.num_test=40", "dataset.num_validation=20", "model=linear", "augment=alexnet"),
    *("augment.crop_pixels=8", "trainer.epochs=1", "trainer.batch_size=20"),
    *("runtime.num_threads=1", "runtime.device=cpu", "logging.report=false"),
    "runtime.kernels=plain",
    *("logging.tensorboard=false", "logging.images_every_epochs=null"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_old_keys(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a config as an earlier cnnlab stored it."""
    old = json.loads(json.dumps(plain))
    for key, new in renamed.KEYS.items():
        section, _, name = new.rpartition(".")
        if name in old.get(section, {}):
            old[section][key.rpartition(".")[2]] = old[section].pop(name)
    return dict(old)


@pytest.fixture
def old_run(here: Path) -> Path:
    """A run whose config.yaml and checkpoints have the keys of an earlier cnnlab."""
    assert main(["train", *SMALL, "hydra.run.dir=old"]) == 0
    path = RunFolder("old").config_file
    path.write_text(yaml.safe_dump(with_old_keys(yaml.safe_load(path.read_text()))))

    for file in Path("old/checkpoints").iterdir():
        held = checkpoint.read(file)
        document = held.document | {"config": with_old_keys(held.document["config"])}
        del document["format_version"]
        file.unlink()  # the names are links to one file
        checkpoint.write(file, held.tensors, document)
    assert "colour_scale" in path.read_text()
    assert "lrn_kernel: plain" in path.read_text()
    assert b"colour_scale" in next(Path("old/checkpoints").iterdir()).read_bytes()
    return Path("old")


def test_every_new_key_is_a_setting_and_no_old_one_is() -> None:
    keys = {key.name for key in walk(config.TrainConfig)}

    assert set(renamed.KEYS.values()) <= keys
    assert not keys & set(renamed.KEYS)


def test_a_stored_config_is_read_under_the_keys_of_today() -> None:
    stored = {"seed": 0, "augment": {"name": "alexnet", "colour_scale": "none", "crop_pixels": 8}}
    wanted = {"seed": 0, "augment": {"name": "alexnet", "color_scale": "none", "crop_pixels": 8}}

    assert renamed.current(stored) == wanted
    triton = {"runtime": {"lrn_kernel": "triton", "compile": False}}
    assert renamed.current(triton) == {"runtime": {"kernels": "triton", "compile": False}}
    assert renamed.current(wanted) == wanted
    assert renamed.current(["no mapping"]) == ["no mapping"]
    assert renamed.current({"augment": None}) == {"augment": None}
    assert "colour_scale" in stored["augment"]


def test_an_old_run_is_resumed_and_written_with_the_keys_of_today(
    old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "resume=old", "trainer.epochs=2"]) == 0

    assert "colour" not in capsys.readouterr().out
    augment = yaml.safe_load((old_run / "config.yaml").read_text())["augment"]
    assert (augment["color_scale"], augment["color_strength"]) == ("stdev", 0.1)
    assert not any(key.startswith("colour") for key in augment)
    runtime = yaml.safe_load((old_run / "config.yaml").read_text())["runtime"]
    assert runtime["kernels"] == "plain"
    assert "lrn_kernel" not in runtime


def test_an_old_run_is_evaluated_and_compared(
    old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "checkpoint=old", "runtime.num_threads=1"]) == 0
    assert main(["train", *SMALL, "seed=1", "hydra.run.dir=new"]) == 0
    capsys.readouterr()

    assert main(["compare", "runs=[old,new]", "format=json"]) == 0
    assert "colo" not in capsys.readouterr().out  # alike in both


@pytest.mark.parametrize(("old", "new"), renamed.KEYS.items())
def test_an_old_key_that_is_typed_is_refused_with_the_new_one(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "augment=alexnet", f"{old}=1"]) == 2

    said = capsys.readouterr().err
    assert said == f"cnnlab: '{old}' is not a setting of 'train'\n  did you mean '{new}'?\n"


def test_an_old_key_in_ones_own_yaml_is_refused_with_the_new_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine/experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /augment: alexnet\n"
    Path("mine/experiment/old.yaml").write_text(f"{text}augment:\n  colour_divides: true\n")

    assert main(["train", "--config-dir", "mine", "experiment=old"]) == 2
    assert "did you mean 'augment.color_divides'?" in capsys.readouterr().err


@pytest.mark.parametrize("old", renamed.VALUES["what"])
def test_an_old_value_is_refused_with_the_new_one(
    old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["visualize", "checkpoint=x", f"what=filters,{old}"]) == 2

    said = capsys.readouterr().err
    assert said.endswith(f"got '{old}'\n  did you mean '{renamed.VALUES['what'][old]}'?\n")
