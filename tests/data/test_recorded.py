"""Images that changed after a run are told by evaluating, and refused by resuming."""

import json
import shutil
from pathlib import Path

import pytest

from cnnlab import checkpoint
from cnnlab.run_folder import RunFolder
from scripts.torture.command import Outcome, call
from tests.data.pictures import smooth_picture
from tests.data.settings import small_folder_training

WORDS = small_folder_training(num_validation=4, batch_size=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and the folder of BMPs that it was trained on."""
    root = tmp_path_factory.mktemp("state") / "pictures"
    for number, split in enumerate(("train", "test")):
        for label in range(2):
            (root / split / f"class_{label}").mkdir(parents=True)
            for item in range(6):
                picture = smooth_picture(100 * number + 10 * label + item, 20, 16)
                picture.save(root / split / f"class_{label}" / f"{item}.bmp")
    run = root.parent / "run"
    outcome = call(*WORDS, f"dataset.root={root}", f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.errors
    return run, root


def edit(path: Path) -> None:
    size = path.stat().st_size
    smooth_picture(999, 20, 16).save(path)
    assert path.stat().st_size == size


CHANGES = {
    "a picture is gone": lambda split: (split / "class_1" / "3.bmp").unlink(),
    "a picture was edited to the same size": lambda split: edit(split / "class_0" / "2.bmp"),
    "a picture is new": lambda split: smooth_picture(5).save(split / "class_0" / "new.bmp"),
    "a picture changed its class": lambda split: (split / "class_0" / "1.bmp").rename(
        split / "class_1" / "other.bmp"
    ),
}


def evaluate(run: Path, root: Path, *words: str) -> Outcome:
    outcome = call("evaluate", f"checkpoint={run}", f"dataset.root={root}", *words)
    assert outcome.code == 0, outcome.errors
    return outcome


def test_unchanged_images_are_as_recorded(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, root = trained
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(root, elsewhere, copy_function=shutil.copyfile)
    assert "warning" not in evaluate(run, elsewhere).output
    for split in ("test", "train", "validation"):
        answer = json.loads(evaluate(run, elsewhere, "format=json", f"split={split}").output)
        assert answer["data_as_recorded"] is True


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_test_images_are_reported(
    trained: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    run, root = trained
    other = tmp_path / "other"
    shutil.copytree(root, other)
    CHANGES[kind](other / "test")

    output = tmp_path / "report"
    said = evaluate(run, other, f"output={output}").output
    assert "warning: these test images are not those that the run recorded" in said
    assert "not those that the run recorded" in next(output.glob("*.html")).read_text()

    answer = json.loads(evaluate(run, other, "format=json").output)
    assert answer["data_as_recorded"] is False
    recorded = json.loads((run / "run.json").read_text())["data_digests"]["test"]
    assert answer["data_digest"] != recorded
    train = json.loads(evaluate(run, other, "format=json", "split=train").output)
    assert train["data_as_recorded"] is True


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", CHANGES)
def test_no_run_resumes_with_images_that_changed(
    trained: tuple[Path, Path], tmp_path: Path, kind: str, split: str
) -> None:
    run, root = trained
    other = tmp_path / "other"
    shutil.copytree(root, other)
    CHANGES[kind](other / split)
    more = call("train", f"resume={run}", "trainer.epochs=2", f"dataset.root={other}")
    assert more.code == 2, more.output
    assert "the images differ" in more.errors
    assert f"{split} images: digest" in more.errors


def copy_of_earlier_run(run: Path, copy: Path, digest: str) -> Path:
    """What a run left before contents counted and test images were recorded."""
    shutil.copytree(run, copy)
    folder = RunFolder(copy)
    for path in {file.resolve() for file in folder.checkpoints.glob("*.safetensors")}:
        held = checkpoint.read(path)
        document = dict(held.document) | {"data_digest": digest}
        del document["data_digests"], document["config"]["dataset"]["on_bad"]
        checkpoint.write(path, held.tensors, document)
    plain = folder.read_config()
    del plain["dataset"]["on_bad"]
    folder.write_config(plain)
    return copy


def test_a_run_of_an_earlier_version_resumes_and_is_evaluated(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    from cnnlab import data
    from tests.data.settings import dataset_config

    run, root = trained
    config = dataset_config("folder", root=str(root), image_size_pixels=12, num_validation=4)
    earlier = data.build(config).train.earlier_digest
    old = copy_of_earlier_run(run, tmp_path / "old", earlier)
    answer = json.loads(evaluate(old, root, "format=json").output)
    assert answer["data_as_recorded"] is None
    train = json.loads(evaluate(old, root, "format=json", "split=train").output)
    assert train["data_as_recorded"] is True
    more = call("train", f"resume={old}", "trainer.epochs=2")
    assert more.code == 0, more.errors
