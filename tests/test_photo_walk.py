"""An engineer with photos: a folder of JPEGs, a fine-tuned AlexNet, a CSV file, an ONNX file.

Each line is typed as a user would; the network is a sixteenth as wide, and its first weights come
from a few updates on generated images, so that the walk takes seconds.
"""

import csv
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cnnlab.cli import main

COLORS = {"apple": (200, 40, 40), "leaf": (40, 160, 60), "sky": (70, 110, 220)}
QUICK = ["logging.tensorboard=false", "logging.report=false", "runtime.num_threads=1"]
QUICK += ["logging.images_every_epochs=null"]
NARROW = ["model=alexnet_2014", "model.width=0.0625"]

pytestmark = pytest.mark.slow


def take_photo(path: Path, color: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Save a JPEG of some size with noise and a blob of a color, at times turned by its EXIF."""
    width, height = (int(side) for side in rng.integers(90, 200, 2))
    noise = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
    photo = Image.fromarray(noise)
    left, top = (int(rng.integers(0, side // 3)) for side in (width, height))
    shape = (left, top, left + width // 2, top + height // 2)
    ImageDraw.Draw(photo).ellipse(shape, fill=color)

    exif = Image.Exif()
    exif[0x0112] = int(rng.choice([1, 6]))
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path, quality=90, exif=exif)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos in one folder per class, one of them cut off, and new ones."""
    home, rng = tmp_path_factory.mktemp("walk"), np.random.default_rng(0)
    for name, color in COLORS.items():
        for number in range(24):
            take_photo(home / "photos" / name / f"IMG_{number:04d}.jpg", color, rng)
        take_photo(home / "new" / f"{name}.jpg", color, rng)
    cut = home / "photos" / "sky" / "IMG_0003.jpg"
    cut.write_bytes(cut.read_bytes()[:900])
    return home


@pytest.fixture(scope="module")
def walked(home: Path) -> Path:
    """Train, and return the folder: first weights, then the fine-tuned run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        first = ["dataset=synthetic", "dataset.image_size_pixels=64", "dataset.num_train=256"]
        first += ["dataset.num_validation=32", "dataset.num_test=32", "trainer.epochs=1"]
        assert main(["train", *NARROW, *first, *QUICK, "hydra.run.dir=first"]) == 0

        own = ["dataset=folder", "dataset.root=photos", "dataset.num_test=12", *QUICK]
        own += ["dataset.num_validation=12", "augment=crop_mirror", "trainer.batch_size=16"]
        tuned = [*NARROW, *own, "model.weights=first", "model.replace_head=true"]
        tuned += ["optimizer.learning_rate=0.05", "trainer.epochs=6"]
        assert main(["train", *tuned, "hydra.run.dir=stopped"]) == 3  # the cut photo is named
        assert main(["train", *tuned, "dataset.on_bad=skip", "hydra.run.dir=tuned"]) == 0
    return home


def test_a_bad_photo_is_named_and_left_out_on_demand(walked: Path) -> None:
    facts = json.loads((walked / "tuned" / "run.json").read_text())
    assert "IMG_0003.jpg" in json.dumps(facts["left_out"])
    assert facts["status"] == "done"
    assert facts["test_error"] < 0.5  # chance: 0.67


def test_new_photos_become_a_csv_file_with_the_names_of_the_folders(
    walked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(walked)
    assert main(["predict", "checkpoint=tuned", "images=new", "format=csv", "top=1"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert [Path(row[0]).stem for row in rows[1:]] == list(COLORS)
    assert {row[2] for row in rows[1:]} <= set(COLORS)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the export extra is not installed",
)
def test_the_onnx_file_sees_what_the_network_sees(
    walked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    import cnnlab

    monkeypatch.chdir(walked)
    assert main(["convert", "source=tuned", "output=photos.onnx"]) == 0
    session = onnxruntime.InferenceSession("photos.onnx")
    size = session.get_inputs()[0].shape[-1]
    images = np.random.default_rng(1).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    (scores,) = session.run(None, {"images": pixels})
    named = cnnlab.load("tuned", "cpu").predict(images, as_is=True).names
    assert [sorted(COLORS)[best] for best in scores.argmax(1)] == named
