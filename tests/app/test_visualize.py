import shutil
from pathlib import Path

import pytest
import torch
import yaml

from cnnlab import checkpoint, data, models
from cnnlab.app import visualize as verb
from cnnlab.cli import main
from cnnlab.config import DatasetConfig, Launch, choices
from cnnlab.config.models import ModelConfig
from cnnlab.config.pictures import PICTURES
from cnnlab.config.schema import parse
from cnnlab.config.verbs.visualize import VisualizeConfig
from cnnlab.data.stats import preprocessing_for
from cnnlab.data.store import ArrayStore
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.inference.probing import balanced_indices, image_set

CONFIGS = Path(__file__).parents[2] / "configs"


def choice(group: str, name: str) -> dict:
    return choices.alone(group, name)


def write_run(folder: Path, model: str = "lenet5", steps: tuple[int, ...] = (10, 20)) -> Path:
    """Save an untrained network over mnist5k as training does, once a step."""
    plain = {
        "model": choice("model", model),
        "dataset": choice("dataset", "mnist5k"),
        "augment": choice("augment", "crop"),
    }
    dataset = parse(DatasetConfig, plain["dataset"], "dataset")
    store = data.build(dataset).train
    preprocessing = preprocessing_for(store, dataset, 1)
    sizes = {"in_channels": 1, "input_size_pixels": preprocessing.image_size_pixels}
    tensors, described = preprocessing.state()
    (folder / "checkpoints").mkdir(parents=True)
    for step in steps:
        network = models.build(
            parse(ModelConfig, plain["model"], "model"),
            **sizes,
            num_classes=10,
            seed=step,
        )
        weights = {f"model.{name}": value for name, value in network.state_dict().items()}
        document = {
            "config": plain,
            "class_names": list(store.class_names),
            "seed": 0,
            "step": step,
            "epoch": step / 10,
            "model": sizes | {"num_classes": 10},
            "input": described,
        }
        path = folder / "checkpoints" / f"step_{step:08d}.safetensors"
        checkpoint.write(path, tensors | weights, document)
    shutil.copy(path, folder / "checkpoints" / "best.safetensors")
    (folder / "run.json").write_text("{}")
    return folder


def config_for(run: Path, **changes: object) -> VisualizeConfig:
    plain = yaml.safe_load((CONFIGS / "visualize.yaml").read_text())
    del plain["defaults"]
    plain |= {
        "checkpoint": str(run),
        "dataset": choice("dataset", "checkpoint"),
        "model": choice("model", "alexnet_2014"),
        "runtime": choice("runtime", "auto") | {"device": "cpu"},
        "num_images": 2,
        "search_images": 60,
        "formats": ["png"],
    }
    return parse(VisualizeConfig, plain | changes)


def draw(config: VisualizeConfig) -> int:
    return verb.run(config, Launch(command="cnnlab visualize"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.slow
def test_all_pictures_land_in_the_run_folder_and_on_one_page(run, capsys):
    assert draw(config_for(run, what=["all"])) == 0
    names = {path.stem for path in (run / "pictures").glob("*.png")}
    single = {name for name in PICTURES if name != "activations"}
    assert names == single | {f"activations_{n}" for n in (1, 2)}
    page = (run / "pictures" / "pictures.html").read_text()
    assert page.count("data:image/png;base64,") == len(names)
    assert "http" not in page.replace("http-equiv", "")
    printed = capsys.readouterr().out
    assert "lenet5 · layer c3" in printed
    assert "mnist5k test · best (epoch 2)" in printed


def test_png_and_svg_go_where_they_are_sent(run, tmp_path):
    config = config_for(run, what=["filters"], formats=["png", "svg"], output=str(tmp_path / "to"))
    assert draw(config) == 0
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "filters.png",
        "filters.svg",
        "pictures.html",
    ]


def test_the_page_to_draw_in_has_both_checkpoints_and_needs_no_picture(run, tmp_path, capsys):
    assert draw(config_for(run, what=["playground"], output=str(tmp_path / "to"))) == 0
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["playground.html"]
    page = (tmp_path / "to" / "playground.html").read_text()
    assert '"moments": ["epoch 1", "epoch 2"], "moment": 1' in page
    assert '"is_digits": true' in page
    assert "MB, open it in a browser" in capsys.readouterr().out


def test_what_a_network_cannot_give_is_passed_over_with_a_line(tmp_path, capsys):
    run = write_run(tmp_path / "linear", model="linear", steps=(10,))
    assert draw(config_for(run, what=["all"])) == 0
    printed = capsys.readouterr().out
    assert "no equivariance: the network has no maps" in printed
    assert "no neighbors: the network has no hidden layer" in printed
    assert "no evolution: evolution needs the checkpoints" in printed
    assert (run / "pictures" / "filters.png").exists()


def test_what_is_asked_for_by_name_is_an_error_when_it_cannot_be_given(tmp_path):
    run = write_run(tmp_path / "linear", model="linear", steps=(10,))
    with pytest.raises(UsageError, match="no hidden layer"):
        draw(config_for(run, what=["neighbors"]))


def test_layers_and_units_that_do_not_exist_list_those_that_do(run):
    with pytest.raises(UsageError, match="no layer 'conv9'") as caught:
        draw(config_for(run, what=["top9"], layer="conv9"))
    assert "c1, s2, relu1" in caught.value.hint
    with pytest.raises(UsageError, match="layer c3 has no unit 16"):
        draw(config_for(run, what=["top9"], layer="c3", units=[16]))
    with pytest.raises(UsageError, match="has no test image 1000"):
        draw(config_for(run, what=["predictions"], indices=[3, 1000]))
    with pytest.raises(UsageError, match=r"what\[0\] must be .*one of filters"):
        config_for(run, what=["filter"])


def test_a_missing_checkpoint_is_said(tmp_path):
    with pytest.raises(UsageError, match="checkpoint is missing"):
        draw(config_for(tmp_path, checkpoint=None))
    with pytest.raises(CheckpointError):
        draw(config_for(tmp_path / "nowhere"))


def test_own_pictures_are_looked_at_and_bad_ones_named(run, tmp_path, capsys):
    from PIL import Image

    Image.new("L", (40, 30), 200).save(tmp_path / "gray.png")
    Image.new("RGB", (28, 28), (255, 0, 0)).save(tmp_path / "red.jpg")
    config = config_for(run, what=["predictions"], images=[str(tmp_path)])
    assert draw(config) == 0
    assert "own pictures" in capsys.readouterr().out
    (tmp_path / "text.png").write_text("this is no picture")
    with pytest.raises(DataError, match="a picture cannot be read") as caught:
        draw(config)
    assert "text.png" in caught.value.where
    with pytest.raises(DataError, match="no such image file"):
        draw(config_for(run, what=["predictions"], images=[str(tmp_path / "gone.png")]))


@pytest.mark.parametrize("key", ["what", "formats", "indices", "units"])
def test_an_empty_list_draws_nothing_and_is_refused(run, key, capsys):
    words = [f"checkpoint={run}", f"{key}=[]", "runtime.device=cpu"]
    assert main(["visualize", *words]) == 2
    assert f"{key} is missing" in capsys.readouterr().err


def test_pictures_in_bf16_are_refused(run, capsys):
    assert main(["visualize", f"checkpoint={run}", "runtime.precision=bf16"]) == 2
    assert "visualize does not support runtime.precision=bf16" in capsys.readouterr().err


def test_images_are_chosen_class_by_class():
    labels = torch.tensor([2, 2, 0, 0, 1, 0, 2])
    assert balanced_indices(labels, 7).tolist() == [2, 4, 0, 3, 1, 5, 6]
    assert balanced_indices(labels, 2).tolist() == [2, 4]


def test_a_limited_set_has_as_many_images_of_each_class():
    labels = torch.arange(4).repeat_interleave(10)  # sorted by class, as folders and mnist5k are
    pixels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    store = ArrayStore("folder", "train", pixels, labels, tuple("abcd"), True)
    found = image_set(store, labels, lambda images: images, 3, limit=8)
    images, named = (torch.cat(parts) for parts in zip(*found.batches(), strict=True))
    assert named.bincount().tolist() == [2, 2, 2, 2]
    assert torch.equal(labels[images.flatten().long()], named)
    assert torch.equal(found.read(torch.arange(8)), images)
