import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnlab
from cnnlab import checkpoint as files
from cnnlab import data
from cnnlab.app import predict as verb
from cnnlab.config import DatasetConfig, Launch
from cnnlab.config.augment import AUGMENTS
from cnnlab.config.data import DATASETS
from cnnlab.config.evaluation import CroppedEvaluationConfig, EvaluationConfig
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse
from cnnlab.config.verbs.predict import PredictConfig
from cnnlab.data.digits import like_mnist
from cnnlab.errors import DataError, UsageError
from cnnlab.inference.given_images import as_images
from cnnlab.inference.predictor import load
from tests.app.test_evaluate import choice, views, write_checkpoint

PHOTOGRAPH = Path(__file__).parents[2] / "docs" / "images" / "handwritten_digit.jpg"


def templates() -> torch.Tensor:
    """Return the mean picture of each digit, float [10,28,28]."""
    store = mnist5k().train
    images = store.read(torch.arange(len(store)))[..., 0].float()
    return torch.stack([images[store.labels == k].mean(0) for k in range(10)])


def mnist5k():
    return data.build(parse(DatasetConfig, choice("dataset", "mnist5k"), "dataset"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A linear network whose weights are the digits' mean pictures: right four times in five."""
    path = tmp_path_factory.mktemp("linear") / "a.safetensors"
    write_checkpoint(path)
    loaded = files.read(path)
    means = templates() / 255
    side = loaded.document["model"]["input_size_pixels"]
    border = (side - 28) // 2
    weight = torch.nn.functional.pad(means, (border,) * 4).flatten(1)
    names = [name for name in loaded.tensors if name.startswith("model.")]
    weights = {name: tensor.clone() for name, tensor in loaded.tensors.items()}
    mean, std = loaded.tensors["input.mean"], loaded.tensors["input.std"]
    # scores = (2 m.x - m.m) / 8 on pixels x = (std * input + mean) / 255
    scale = float(std[0]) / 255
    for name in names:
        if name.endswith("weight"):
            weights[name] = 2 * weight * scale / 8
        else:
            offset = 2 * weight.sum(1) * float(mean.mean()) / 255 - (weight**2).sum(1)
            weights[name] = offset / 8
    files.write(path, weights, dict(loaded.document))
    return path


def config_for(checkpoint: Path, *images: object, **changes: object) -> PredictConfig:
    values = {
        "checkpoint": [str(checkpoint)],
        "images": [str(image) for image in images],
        "evaluation": EvaluationConfig(name="center"),
        "runtime": parse(RuntimeConfig, choice("runtime", "auto") | {"device": "cpu"}, "runtime"),
        "pictures": "auto",
        "which_weights": None,
        "top": 3,
        "format": "json",
        "output": None,
        "plugins": [],
    }
    return PredictConfig(**(values | changes))


def run(config: PredictConfig) -> int:
    return verb.run(config, Launch(command=""))


def test_the_photographed_digit_is_named(checkpoint, capsys):
    assert run(config_for(checkpoint, PHOTOGRAPH)) == 0
    (answer,) = json.loads(capsys.readouterr().out)["images"]
    best = answer["predictions"][0]
    assert best["class"] == "3"
    assert len(answer["predictions"]) == 3


def test_as_is_takes_the_photograph_without_the_rule(checkpoint, capsys):
    run(config_for(checkpoint, PHOTOGRAPH, pictures="as_is"))
    plain = json.loads(capsys.readouterr().out)["images"][0]["predictions"]
    run(config_for(checkpoint, PHOTOGRAPH))
    assert json.loads(capsys.readouterr().out)["images"][0]["predictions"] != plain


def test_bad_files_are_named_and_the_rest_is_predicted(checkpoint, tmp_path, capsys):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_text("this is no picture")
    (tmp_path / "c.jpg").write_bytes(PHOTOGRAPH.read_bytes()[:2000])
    (tmp_path / "notes.txt").write_text("not listed: no picture's ending")
    assert run(config_for(checkpoint, tmp_path)) == 3
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [Path(image["path"]).name for image in found["images"]] == ["b.png"]
    assert [Path(bad["path"]).name for bad in found["failed"]] == ["a.png", "c.jpg"]
    assert printed.err.splitlines()[0].endswith("1 file without an image extension (notes.txt)")
    assert len(printed.err.splitlines()) == 3
    assert ".cpp" not in printed.err  # no path of the machine that built the decoder


def test_csv_has_one_row_a_rank(checkpoint, capsys):
    run(config_for(checkpoint, PHOTOGRAPH, format="csv"))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["class"] == "3"


def test_the_table_names_the_picture_and_its_classes(checkpoint, capsys):
    run(config_for(checkpoint, PHOTOGRAPH, format="text"))
    printed = capsys.readouterr().out
    assert "handwritten_digit.jpg" in printed
    assert "probability" in printed


def test_missing_files_and_empty_folders_are_refused(checkpoint, tmp_path):
    with pytest.raises(DataError, match="no such image file"):
        run(config_for(checkpoint, tmp_path / "absent.png"))
    with pytest.raises(DataError, match="no image files in this folder"):
        run(config_for(checkpoint, tmp_path))


def test_load_gives_python_the_same_answers(checkpoint):
    store = mnist5k().test
    images = store.read(torch.arange(200))
    predictor = cnnlab.load(checkpoint, device="cpu")
    assert predictor.class_names == store.class_names
    as_tensor = predictor.predict(images)
    assert as_tensor.probabilities.shape == (200, 10)
    assert torch.equal(as_tensor.probabilities, predictor.predict(images.numpy()).probabilities)
    as_list = predictor.predict([Image.fromarray(i[..., 0].numpy()) for i in images[:5]])
    assert torch.allclose(as_list.probabilities, as_tensor.probabilities[:5], atol=1e-6)
    right = sum(
        int(a) == b for a, b in zip(as_tensor.names, store.labels.tolist()[:200], strict=True)
    )
    assert right > 140


def test_an_ensemble_can_be_loaded(checkpoint):
    one, two = load(checkpoint, "cpu"), load([checkpoint, checkpoint], "cpu")
    image = like_mnist(torch.zeros(1, 28, 28, dtype=torch.uint8))[None]
    assert torch.allclose(one.predict(image).probabilities, two.predict(image).probabilities)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 7), (1, 1, 5, 7)), ((4, 5, 7), (4, 1, 5, 7)), ((4, 5, 7, 3), (4, 3, 5, 7)),
     ((4, 3, 5, 7), (4, 3, 5, 7))],
)  # fmt: skip
def test_shapes_that_people_use_are_understood(shape, expected):
    (batch,) = as_images(np.zeros(shape, np.uint8))
    assert tuple(batch.shape) == expected


@pytest.mark.parametrize("images", [np.zeros((2, 5, 5)), np.zeros((1, 2, 9, 9), np.uint8), "a.png"])
def test_what_are_no_images_is_refused(images):
    with pytest.raises(DataError):
        as_images(images)


EMPTY = {
    "gray arrays": np.zeros((0, 28, 28), np.uint8),
    "color arrays": np.zeros((0, 28, 28, 3), np.uint8),
    "a tensor": torch.zeros(0, 1, 28, 28, dtype=torch.uint8),
    "a list": [],
    "a tuple": (),
    "one array": np.zeros((0, 28), np.uint8),
    "no rows": np.zeros((2, 0, 28), np.uint8),
    "no columns, in a list": [np.zeros((28, 28), np.uint8), np.zeros((28, 0, 3), np.uint8)],
}


@pytest.mark.parametrize("images", EMPTY.values(), ids=EMPTY)
def test_an_empty_batch_is_one_clear_error(checkpoint, images):
    with pytest.raises(DataError, match=r"no images to predict|has no pixels"):
        load(checkpoint, "cpu").predict(images)


def machine(**changes: object) -> RuntimeConfig:
    return parse(RuntimeConfig, choice("runtime", "auto") | {"device": "cpu"} | changes, "runtime")


def probabilities(config: PredictConfig, capsys: pytest.CaptureFixture) -> list[float]:
    assert run(config) == 0
    (answer,) = json.loads(capsys.readouterr().out)["images"]
    return [one["probability"] for one in answer["predictions"]]


def test_precision_and_threads_have_an_effect(checkpoint, capsys):
    usual = probabilities(config_for(checkpoint, PHOTOGRAPH), capsys)
    coarse = probabilities(
        config_for(checkpoint, PHOTOGRAPH, runtime=machine(precision="bf16")), capsys
    )
    assert coarse != usual
    assert coarse == pytest.approx(usual, abs=0.05)
    before = torch.get_num_threads()
    try:
        run(config_for(checkpoint, PHOTOGRAPH, runtime=machine(num_threads=before + 1)))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_precision_without_effect_is_said(checkpoint, capsys):
    assert run(config_for(checkpoint, PHOTOGRAPH, runtime=machine(precision="tf32"))) == 0
    assert "precision=tf32 has no effect on cpu" in capsys.readouterr().err


def trained_on(path: Path, augment: str, dataset: str = "mnist5k", **changes: object) -> Path:
    """Write a checkpoint whose config names another augmentation and set."""
    plain = {
        "model": choice("model", "linear"),
        "dataset": choice("dataset", dataset) | changes,
        "augment": choice("augment", augment),
    }
    return write_checkpoint(path, config=plain)


MIRRORING = [name for name in AUGMENTS if "force_mirror" in choice("augment", name)]


@pytest.mark.parametrize("augment", MIRRORING)
def test_ten_views_are_for_every_augmentation_that_mirrors(augment, tmp_path, capsys):
    assert {"alexnet", "resized_crop", "crop_mirror"} == set(MIRRORING)
    path = trained_on(tmp_path / "a.safetensors", augment, "imagenet")
    ten_views = CroppedEvaluationConfig(name="ten_view", padding_pixels=2)
    assert run(config_for(path, PHOTOGRAPH, evaluation=ten_views)) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == 1


@pytest.mark.parametrize(
    ("dataset", "changes", "allowed"),
    [
        ("cifar10", {}, True),
        ("cifar10", {"permutation_seed": 3}, False),
        ("gtsrb", {}, False),
        ("mnist", {}, False),
        ("folder", {"mirror_allowed": True}, True),
        ("folder", {"mirror_allowed": False}, False),
        ("store", {}, False),
    ],
)
def test_ten_views_depend_on_the_set_and_not_on_a_word(dataset, changes, allowed, tmp_path, capsys):
    path = trained_on(tmp_path / "a.safetensors", "crop", dataset, **changes)
    config = config_for(path, PHOTOGRAPH, evaluation=views("ten_view"))
    if allowed:
        assert run(config) == 0
    else:
        with pytest.raises(UsageError, match="five_crop"):
            run(config)


def test_what_a_set_says_of_reflection_is_known_without_its_images():
    for name in ("mnist5k", "synthetic"):
        config = parse(DatasetConfig, choice("dataset", name), "dataset")
        assert data.build(config).test.mirror_allowed is DATASETS[name].mirror_allowed


def test_the_answer_says_which_run_and_checkpoint_gave_it(checkpoint, tmp_path, capsys):
    folder = tmp_path / "my run" / "checkpoints"
    folder.mkdir(parents=True)
    inside = folder / "best.safetensors"
    inside.write_bytes(checkpoint.read_bytes())

    run(config_for(tmp_path / "my run", PHOTOGRAPH))
    told = json.loads(capsys.readouterr().out)
    assert told["checkpoints"] == [str(tmp_path / "my run")]
    (network,) = told["networks"]
    assert network["checkpoint"] == str(inside)
    assert network["run"] == str(tmp_path / "my run")
    assert (network["model"], network["dataset"]) == ("linear", "mnist5k")
    assert network["which_weights"] == "raw"

    run(config_for(tmp_path / "my run", PHOTOGRAPH, format="text"))
    assert f"linear trained on mnist5k: {inside}\n" in capsys.readouterr().out

    run(config_for(checkpoint, PHOTOGRAPH))
    assert json.loads(capsys.readouterr().out)["networks"][0]["run"] is None


def test_a_folder_gets_a_picture_of_each_file_and_a_page_of_all(checkpoint, tmp_path, capsys):
    given, output = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    (given / "a.jpg").write_bytes(PHOTOGRAPH.read_bytes())
    (given / "bad.png").write_text("this is no picture")
    Image.fromarray(np.full((28, 28), 9, np.uint8)).save(given / "c d.png")

    assert run(config_for(checkpoint, given, output=str(output), format="text")) == 3
    page = output / "predictions.html"
    assert f"all pictures on one page: {page}" in capsys.readouterr().out

    pictures = sorted((output / "pictures").iterdir())
    assert [path.name for path in pictures] == ["0001_a.png", "0002_c_d.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.size == (630, 270)
    text = page.read_text()
    assert text.count('src="data:image/png;base64,') == 2
    for word in ("2 pictures, classified by linear", "Could not be read", "bad.png", "c d.png"):
        assert word in text

    again = tmp_path / "again"
    run(config_for(checkpoint, given, output=str(again)))
    assert json.loads(capsys.readouterr().out)["page"] == str(again / "predictions.html")
    for path in pictures:
        assert (again / "pictures" / path.name).read_bytes() == path.read_bytes()


def test_what_the_network_saw_is_what_it_was_given_with_mean_and_scale_undone(checkpoint):
    predictor = load(checkpoint, "cpu")
    photograph = torch.from_numpy(np.array(Image.open(PHOTOGRAPH).convert("L")))[None]
    inputs = []
    handle = predictor.model.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    predictor.predict([photograph])
    handle.remove()

    member = predictor.members[0].preprocessing
    undone = inputs[0] * member.std[:, None, None] + member.mean[:, None, None]
    seen = predictor.seen(photograph)
    assert seen.dtype == torch.uint8
    assert torch.allclose(undone, seen.float(), atol=1e-3)
    assert not torch.equal(seen, predictor.seen(photograph, as_is=True))


def test_a_folder_that_cannot_be_made_is_said_before_any_work(checkpoint, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotADirectoryError):
        run(config_for(checkpoint, PHOTOGRAPH, output=str(tmp_path / "out")))
    assert capsys.readouterr().out == ""
