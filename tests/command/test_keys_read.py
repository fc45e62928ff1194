"""A key that a command accepts has an effect there, or is refused: over the table of commands.

Each command runs with configs that note what is read of them. A key that nothing read belongs into
`Verb.unused`, which refuses it, or into ELSEWHERE, with the test that shows its effect.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab.cli import main
from cnnlab.command import composing, jobs
from cnnlab.command.line import read as read_line
from cnnlab.command.verbs import VERBS
from cnnlab.config.checks import TRAINING_ONLY
from cnnlab.config.keys import walk
from cnnlab.conversion.foreign_weights import NAMES
from cnnlab.errors import UsageError
from tests.command.recording import keys_of, record

QUICK = ["runtime.device=cpu", "runtime.num_threads=1"]
RUN = ["experiment=debug", "augment=crop", "trainer.epochs=1", "logging.tensorboard=false"]
BUILDING = [
    *("dataset=mnist", "encoding=jpeg", "side_pixels=8", "kernel=bicubic", "quality=50"),
    *("on_bad=skip", "max_bad_fraction=0.5", "max_image_pixels=9", "shard_megabytes=1"),
    *("num_threads=1", "wait_seconds=1", "plugins=[]"),
]
ONE_STEP = ["trainer.limit_train_batches=1", "logging.images_every_epochs=null"]
OWN = ["dataset=folder", "dataset.root=own/train", "dataset.num_test=2"]
FEW_PICTURES = ["formats=[png]", "search_images=20"]

COMMANDS: dict[str, list[list[str]]] = {
    "train": [[*RUN, *QUICK, *ONE_STEP, "logging.report=false", "hydra.run.dir=again"]],
    "evaluate": [
        ["checkpoint=run", "evaluation=five_crop", *QUICK],
        ["checkpoint=run", *OWN, *QUICK],
    ],
    "summary": [
        ["init_report=true", "num_images=4", "communication=8"],
        ["init_report=true", *OWN, "num_images=2"],
        ["layer=conv", "size=9", "kernel=3", "in_channels=1", "out_channels=2"],
        ["layer=fc", "in_features=3", "out_features=2"],
    ],
    "visualize": [
        ["checkpoint=run", "what=[neighbors]", *FEW_PICTURES, *QUICK],
        ["checkpoint=run", "what=[filters]", *OWN, *QUICK],
    ],
    "predict": [
        ["checkpoint=run", "images=digit.png", "evaluation=five_crop", "output=album", *QUICK]
    ],
    "compare": [["runs=[run,other]"]],
    "convert": [
        ["source=run", "output=run.safetensors"],
        ["source=tiny.pth", "output=tiny.safetensors", "class_names=names.txt"],
    ],
    "prepare": [
        ["dataset.root=own", "output=store"],
        [*OWN, "output=held_out"],
        ["output=store", "verify=true"],
    ],
    "benchmark": [["seconds_per_part=0.001", "trainer.batch_size=4", *QUICK]],
    "reproduce": [["claims=parameters_in_fc,color_shift", *QUICK]],
    "copy": [["experiment=quickstart", "mine.yaml"]],
    "list": [["runs"]],
}
"""Enough of each command to read all its settings; how they end does not matter here."""

ELSEWHERE: dict[str, dict[str, str]] = {
    "train": {
        "allow_changes": "test_durability_runs.py",
        "distributed.compression": "distributed/worker.py",
        "ensemble.at_once": "trainer/test_ensemble.py",
        "model.replace_head": "trainer/test_fine_tuning.py",
        "logging.embedded_images": "trainer/test_tensorboard.py",
    },
    "visualize": {"model": "visualization/test_lecture_drawings.py"},
    "benchmark": {"model.replace_head": "trainer/test_fine_tuning.py"},
    "convert": {
        "augment": "app/test_convert.py",
        "dataset": "app/test_convert.py",
        "model": "app/test_convert.py",
    },
}
"""Keys, or whole sections, whose effect needs more than these commands: the test that shows it."""


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() == VERBS.keys()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two runs, a picture, a set of own images, and weights of others."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        lean = [*ONE_STEP, "logging.report=false", "hydra.run.dir=run"]
        assert main(["train", *RUN, *QUICK, *lean]) == 0
        shutil.copytree("run", "other")
        digit = Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28))
        digit.save("digit.png")
        for name in ("train/a", "train/b", "test/a", "test/b"):
            (home / "own" / name).mkdir(parents=True)
            for number in range(3):
                digit.save(home / "own" / name / f"{number}.png")
        torch.save({name: torch.zeros(2, 3, 1, 1) for name in NAMES}, "tiny.pth")
        (home / "names.txt").write_text("a\nb")
        yield home


@pytest.mark.parametrize("name", VERBS)
def test_an_accepted_key_is_read(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    accepted: set[str] = set()

    def parse(*arguments: Any) -> Any:
        config = original(*arguments)
        accepted.update(keys_of(config))
        return record(config, read)

    original = jobs.parse
    monkeypatch.setattr(jobs, "parse", parse)
    for words in COMMANDS[name]:
        assert main([name, *words]) in (0, 3, 4), words

    known = ELSEWHERE.get(name, {})
    unread = {
        key
        for key in accepted - read
        if VERBS[name].uses(key) and key not in known and key.split(".")[0] not in known
    }
    unread -= {"plugins"}  # imported while the line is read: tests/app/test_own_model.py
    unread -= {f"runtime.{switch}" for switch in TRAINING_ONLY}  # refused, see below
    assert unread == set()


@pytest.mark.parametrize("name", VERBS)
def test_a_typed_key_without_effect_is_refused_and_not_in_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = VERBS[name]
    keys = [key.name for key in walk(verb.config_class)]
    unused = [key for key in keys if not verb.uses(key)]
    assert {section for key in unused for section in (key, key.split(".")[0])} >= set(verb.unused)
    main([name, "--help"])
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    for key in unused:
        assert key not in shown
        with pytest.raises(UsageError, match=rf"{key} has no effect on '{name}'"):
            read_line(name, [f"{key}=1"])


@pytest.mark.parametrize("switch", TRAINING_ONLY)
@pytest.mark.parametrize("name", ["evaluate", "visualize", "predict"])
def test_switches_of_training_are_refused_by_other_commands(
    name: str, switch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, f"runtime.{switch}=true", "checkpoint=latest"]) == 2
    assert f"runtime.{switch}=true" in capsys.readouterr().err


def test_the_tests_named_elsewhere_exist() -> None:
    for keys in ELSEWHERE.values():
        for key, file in keys.items():
            text = (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
            assert key.rsplit(".", 1)[-1] in text, (key, file)


def test_a_key_that_nothing_reads_is_noticed() -> None:
    """The recording itself: copying, comparing and writing down are no reading."""
    import dataclasses

    from cnnlab.config import to_plain
    from cnnlab.config.runtime import RuntimeConfig

    read: set[str] = set()
    plain = {"device": "cpu", "precision": "fp32", "num_threads": 1, "deterministic": False}
    plain |= {"kernels": "plain", "channels_last": True} | dict.fromkeys(TRAINING_ONLY, False)
    config = record(RuntimeConfig(**plain), read)  # type: ignore[arg-type]
    assert to_plain(config) == to_plain(dataclasses.replace(config))
    assert read == set()
    assert dataclasses.replace(config, num_threads=2).num_threads == 2
    assert read == {"num_threads"}


OF_A_NETWORK = (
    *("model=alexnet", "model.width=2", "input_size_pixels=40", "num_classes=3"),
    *("init_report=true", "communication=8"),
)

IDLE: dict[str, list[str]] = {
    "train": [
        "ensemble.at_once=2",
        "logging.histograms_every_steps=5 logging.tensorboard=false",
        "logging.embedded_images=9 logging.tensorboard=false",
        *("evaluation=ten_view schedule=range_test", "logging.report=true schedule=range_test"),
        "trainer.validate_every_epochs=2 schedule=range_test",
        "which_weights=raw schedule=range_test",
    ],
    "summary": [
        *("dataset=cifar10", "dataset.pad_pixels=1", "num_images=3", "seed=4"),
        *(f"{word} layer=conv size=9 kernel=3" for word in OF_A_NETWORK),
        *("size=9", "kernel=3", "stride=2", "padding=1", "dilation=2", "ceil=true"),
        *("out_channels=2 layer=pool size=9 kernel=3", "in_features=2", "out_features=2"),
        "in_channels=2 layer=fc in_features=3 out_features=4",
        "images_per_worker=64",
    ],
    "visualize": [
        *("images=digit.png what=filters", "indices=[1] what=top9", "num_images=2 what=evolution"),
        *("layer=c1 what=predictions", "units=[1] what=neighbors", "num_units=2 what=filters"),
        *("square_pixels=2 what=filters", "square_stride=2 what=top9"),
        *("signal=guided what=activations", "search_images=5 what=deconvnet"),
        *("indices=[1] images=digit.png", "num_images=2 images=digit.png"),
        *("num_images=2 indices=[1]", "num_units=3 units=[1]"),
        *("model=lenet5 what=filters", "model.width=2 checkpoint=run what=lecture"),
        *(f"{word} what=lecture" for word in ("dataset=mnist5k", "split=test", "batch_size=4")),
        *("which_weights=raw what=lecture", "runtime.device=cpu what=lecture"),
        *("formats=[svg] what=playground", "units=[1] what=playground"),
    ],
    "convert": [
        f"{word} source=run output=never.onnx"
        for word in ("model=lenet5", "model.width=1", "dataset=mnist", "augment=crop")
    ]
    + ["class_names=x source=run output=never.onnx"]
    + ["which_weights=ema source=tiny.pth output=never.safetensors"],
    "prepare": [f"{word} output=never" for word in ("quality=50", "max_bad_fraction=0.5")]
    + [f"{word} output=never verify=true" for word in BUILDING],
}
"""Of each command with `Verb.needs`: a setting that the words after it leave without effect."""

NEEDED = {
    "dataset": ["init_report=true"],
    "num_images": ["init_report=true"],
    "seed": ["init_report=true"],
    "quality": ["encoding=jpeg"],
    "max_bad_fraction": ["on_bad=skip"],
    "ensemble.at_once": ["ensemble.members=2"],
    "layer": ["what=[occlusion,equivariance]"],
}


def test_every_need_of_a_command_is_tried() -> None:
    for name, verb in VERBS.items():
        for need in verb.needs:
            for key in need.keys:
                words = [line.partition("=")[0] for line in IDLE[name]]
                assert any(word == key or word.startswith(f"{key}.") for word in words), key
        assert bool(verb.needs) == (name in IDLE)


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, lines in IDLE.items() for line in lines]
)
def test_a_typed_key_that_other_values_leave_without_effect_is_refused(
    name: str, line: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, *line.split()]) == 2
    said = capsys.readouterr().err
    assert f"{line.partition('=')[0]} has no effect here" in said
    assert len(said.splitlines()) == 2
    assert not list(home.glob("never*"))


@pytest.mark.parametrize(
    "word",
    [
        *("num_images=3", "seed=4", "quality=50", "max_bad_fraction=0.5"),
        *("ensemble.at_once=2", "layer=c1"),
    ],
)
def test_beside_what_it_needs_a_key_is_taken(word: str, home: Path) -> None:
    needed = NEEDED[word.partition("=")[0]]
    lines = {name: [line.split()[0] for line in lines] for name, lines in IDLE.items()}
    for name in (name for name, words in lines.items() if word in words):
        request = read_line(name, [word, *needed])
        composing.check(request)
