"""What training defaults to with each model; what is typed or stands in an experiment wins."""

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from cnnlab import config, models
from cnnlab.cli import main
from cnnlab.command import composing
from cnnlab.config import choices
from cnnlab.errors import UsageError
from cnnlab.models import Network
from tests.test_config import unresolved

EXPERIMENTS = choices.choices("experiment")

SEEN: dict[str, tuple[int, int]] = {
    "mnist5k": (1, 10),
    "mnist": (1, 10),
    "fashion_mnist": (1, 10),
    "cifar10": (3, 10),
    "cifar100": (3, 100),
    "gtsrb": (3, 43),
    "imagenet": (3, 1000),
    "imagenet_2010": (3, 1000),
    "folder": (3, 10),
    "store": (3, 10),
    "synthetic": (3, 10),
}
"""Channels and classes of each set; those of `folder` and `store` are their owner's."""

NOT_TOGETHER = {
    ("lenet5_1998", name): f"ten bitmaps, one per class; the set has {classes} classes"
    for name, (_, classes) in SEEN.items()
    if classes != 10
}
"""(model, set) -> why the two do not go together; every other pair does."""


def typed(*words: str) -> config.TrainConfig:
    """Return what `cnnlab train` trains with, checked."""
    return config.parse_train(composing.settle(unresolved("train", *words)))


def together(model: str, dataset: str) -> DictConfig:
    """Return what Hydra makes of a model and a set: each is a section of its own."""
    whole = copy.deepcopy(unresolved("train", f"model={model}"))
    whole.dataset = unresolved("train", f"dataset={dataset}").dataset
    return whole


def network_of(settings: config.TrainConfig) -> Network:
    """Build the network of a run without memory for its weights."""
    channels, classes = SEEN[settings.dataset.name]
    with torch.device("meta"):
        return models.build(
            models.on_one_device(settings.model),
            in_channels=channels,
            input_size_pixels=settings.dataset.image_size_pixels,
            num_classes=classes,
            seed=0,
        )


def test_every_set_is_in_the_table() -> None:
    assert SEEN.keys() == config.DATASETS.keys()


@pytest.mark.parametrize("model", config.MODELS)
def test_a_model_takes_every_set_as_it_comes_or_says_why_not(model: str) -> None:
    for name in config.DATASETS:
        settings = config.parse_train(composing.settle(together(model, name)))
        own_size = choices.alone("dataset", name)["image_size_pixels"]

        if reason := NOT_TOGETHER.get((model, name)):
            with pytest.raises(UsageError, match=reason):
                network_of(settings)
            continue
        assert network_of(settings).input_size_pixels >= own_size


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_choice_of_model_or_set_is_a_section_and_nothing_else(kind: str) -> None:
    """So a pair of them is the two sections, and composing each of 121 pairs would tell no more."""
    usual = plain(unresolved("train"))
    for name in config.MODELS if kind == "model" else config.DATASETS:
        chosen = plain(unresolved("train", f"{kind}={name}"))
        assert chosen.pop(kind)["name"] == name
        assert chosen == {key: value for key, value in usual.items() if key != kind}


@pytest.mark.parametrize(
    ("model", "dataset"),
    [("alexnet", "cifar10"), ("lenet5_1998", "imagenet"), ("zfnet", "synthetic")],
)
def test_a_pair_is_composed_as_the_two_sections(model: str, dataset: str) -> None:
    pair = unresolved("train", f"model={model}", f"dataset={dataset}")

    assert plain(pair) == plain(together(model, dataset))


def plain(composed: DictConfig) -> dict[str, Any]:
    found = OmegaConf.to_container(composed)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize("model", ["alexnet", "alexnet_two_tower", "alexnet_2014"])
@pytest.mark.parametrize("geometry", ["224_ceil", "227", "224_pad2"])
def test_images_are_as_small_as_the_geometry_allows(model: str, geometry: str) -> None:
    settings = typed(f"model={model}", f"++model.geometry={geometry}")

    assert network_of(settings)
    settings.dataset.image_size_pixels -= 2
    with pytest.raises(UsageError, match="the smallest is"):
        network_of(settings)


def test_what_is_typed_comes_before_the_recipe() -> None:
    words = ["optimizer.learning_rate=0.5", "trainer.clip_gradient_norm=null"]
    words += ["dataset.image_size_pixels=96", "model.initialization=source"]
    settings = typed("model=alexnet", *[f"++{word}" for word in words])

    assert settings.optimizer.learning_rate == 0.5
    assert settings.trainer.clip_gradient_norm is None
    assert settings.dataset.image_size_pixels == 96
    assert settings.model.initialization == "source"


@pytest.mark.parametrize("optimizer", ["adamw", "levenberg_marquardt"])
@pytest.mark.parametrize("model", config.MODELS)
def test_a_rate_for_sgd_reaches_no_other_rule(model: str, optimizer: str) -> None:
    recipe = choices.read(choices.configs_folder() / "model" / f"{model}.yaml")["recipe"]
    own = recipe["learning_rate"].get(optimizer)
    usual = choices.alone("optimizer", optimizer)["learning_rate"]

    settings = typed(f"model={model}", f"optimizer={optimizer}")

    assert settings.optimizer.learning_rate == (own or usual)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiments_rate_reaches_no_other_rule(experiment: str) -> None:
    model = typed(f"experiment={experiment}").model.name
    usual = typed(f"model={model}", "optimizer=adamw").optimizer.learning_rate

    other = None
    with contextlib.suppress(UsageError):  # it has settings that only its own rule has
        other = typed(f"experiment={experiment}", "optimizer=adamw").optimizer.learning_rate

    assert other in (None, usual)


@pytest.mark.parametrize("model", ["lenet5", "four_layer"])
def test_weights_begin_as_the_activation_needs(model: str) -> None:
    def begins(activation: str) -> Any:
        return typed(f"model={model}", f"++model.activation={activation}").model

    found = {name: begins(name).initialization for name in ("relu", "tanh", "sigmoid")}
    assert found == {"relu": "kaiming", "tanh": "xavier", "sigmoid": "lecun"}


@pytest.mark.parametrize("model", config.MODELS)
def test_a_file_alone_has_the_defaults_of_its_model(model: str) -> None:
    assert config.parse_model(choices.alone("model", model)) == typed(f"model={model}").model


def test_a_wrong_activation_is_refused_as_such() -> None:
    with pytest.raises(UsageError, match=r"model.activation must be one of .*, got 'gelu'"):
        typed("++model.activation=gelu")


def test_no_word_names_rows_of_two_kinds() -> None:
    fields = [
        field for row in config.MODELS.values() for field in row.config_class.__dataclass_fields__
    ]
    assert {"activation", "geometry"} <= set(fields)
    rows: dict[str, set[str]] = {"optimizer": set(config.OPTIMIZERS)}
    for shape in (row.config_class for row in config.MODELS.values()):
        for name, field in shape.__dataclass_fields__.items():
            if name in ("activation", "geometry"):
                rows.setdefault(name, set()).update(field.metadata["choices"])

    assert len(set.union(*rows.values())) == sum(map(len, rows.values()))


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder whose `model/` holds LeNet-5 under another name, with a recipe to come."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    plain = (choices.configs_folder() / "model" / "lenet5.yaml").read_text().split("\nrecipe:")[0]
    (tmp_path / "model" / "mine.yaml").write_text(f"{plain}\n")
    return tmp_path


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Return the settings that `cnnlab train ... --help` shows, as it shows them."""
    main(["train", *words, "--help"])
    lines = capsys.readouterr().out.partition("settings (")[2].splitlines()
    rows = [line.split() for line in lines if line[:2] == "  " and line[2:3].strip()]
    return {row[0]: row[1] for row in rows if len(row) > 1}


@pytest.mark.parametrize(
    ("recipe", "shown"),
    [
        ("", {"optimizer.learning_rate": "0.1", "trainer.clip_gradient_norm": "null"}),
        ("recipe: {learning_rate: {sgd: 0.7}}", {"optimizer.learning_rate": "0.7"}),
        ("recipe: {learning_rate: {adamw: 0.7}}", {"optimizer.learning_rate": "0.1"}),
        ("recipe: {clip_gradient_norm: 2}", {"trainer.clip_gradient_norm": "2"}),
        ("recipe: {smallest_pixels: {relu: 50}}", {"dataset.image_size_pixels": "50"}),
    ],
)
def test_a_model_of_ones_own_may_have_a_recipe(
    recipe: str, shown: dict[str, str], own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(own_folder / "model" / "mine.yaml", "a") as file:
        file.write(recipe)

    found = help_of(capsys, "--config-dir", str(own_folder), "model=mine")

    assert shown.items() <= found.items()


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ("{learning_rates: 0.1}", "'model.recipe.learning_rates' is not used anywhere"),
        ("{learning_rate: {sdg: 0.1}}", "'model.recipe.learning_rate.sdg' is not used anywhere"),
        (
            "{initialization: {224_ceil: torch}}",
            "'model.recipe.initialization.224_ceil' is not used",
        ),
        ("0.1", "model.recipe must be a mapping"),
        ("{learning_rate: fast}", "optimizer.learning_rate must be a number"),
    ],
)
def test_a_recipe_with_a_slip_is_refused(
    recipe: str, complaint: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(own_folder / "model" / "mine.yaml", "a") as file:
        file.write(f"recipe: {recipe}")

    assert main(["train", "--config-dir", str(own_folder), "model=mine"]) == 2
    assert complaint in capsys.readouterr().err
