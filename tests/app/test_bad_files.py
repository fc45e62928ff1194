"""Folders with photographs that nobody can read: named all at once, or left out and recorded."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from cnnlab import data
from cnnlab.errors import DataError
from scripts.torture.command import call
from tests.data.pictures import write_train_and_test
from tests.data.settings import dataset_config, small_folder_training

WORDS = small_folder_training(num_validation=8, batch_size=8)
BAD = [f"class_{label}/{item:04d}.jpg" for label in (0, 2, 3) for item in (1, 5, 6, 9)]
BAD_TEST = "class_1/0002.jpg"


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def repair(root: Path) -> None:
    """Put whole pictures, of the same number and sizes, where they were."""
    shutil.rmtree(root)
    write_train_and_test(root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_train_and_test(tmp_path_factory.mktemp("bad") / "pictures")
    for name in BAD:
        damage(root / "train" / name)
    damage(root / "test" / BAD_TEST)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "pictures")


def load(root: Path, **changes: object) -> data.Splits:
    return data.build(dataset_config("folder", root=str(root), image_size_pixels=12, **changes))


@pytest.mark.parametrize("residency", ["device", "mapped"])
def test_all_bad_files_are_told_with_the_command_that_leaves_them_out(
    root: Path, tmp_path: Path, residency: str
) -> None:
    run = tmp_path / "run"
    words = (*WORDS, f"dataset.root={root}", f"dataset.residency={residency}")
    outcome = call(*words, f"hydra.run.dir={run}")
    assert (outcome.code, outcome.is_clean) == (3, True), outcome.errors
    what, named, hint = outcome.errors.strip().splitlines()
    assert "12 of 64 train files hold no usable image" in what
    assert [name in named for name in BAD] == [True] * 10 + [False] * 2
    assert named.endswith("; and 2 more")

    program, *command = shlex.split(hint.partition("leave them out: ")[2])
    assert (Path(program).name, command[-1]) == ("cnnlab", "dataset.on_bad=skip")
    again = call(*command)
    assert again.code == 0, again.errors
    assert "train: 12 bad files left out" in again.output


CORRECTED = {
    "train": ("train", [*WORDS[1:], "dataset.residency=mapped", "hydra.run.dir=made"]),
    "ensemble": ("train", [*WORDS[1:], "ensemble.members=2", "hydra.run.dir=made"]),
    "sweep": ("train", [*WORDS[1:], "seed=0,1", "-m", "hydra.sweep.dir=made"]),
    "prepare": ("prepare", ["dataset=folder", "dataset.image_size_pixels=12", "output=made"]),
    "predict": ("predict", ["checkpoint=whole", "images=pictures/train", "output=made"]),
    "evaluate": ("evaluate", ["checkpoint=whole", "split=test", "output=made"]),
    "visualize": ("visualize", ["checkpoint=whole", "what=predictions", "output=made"]),
}
"""Commands that write into a folder `made` and read images."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CORRECTED)
def test_once_the_files_are_repaired_the_same_command_works(
    case: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb, words = CORRECTED[case]
    if "checkpoint=whole" not in words:
        words = [*words, "dataset.root=pictures"]
    else:
        repair(root)
        begun = call(*WORDS, "dataset.root=pictures", "hydra.run.dir=whole")
        assert begun.code == 0, begun.errors
        damage(root / "test" / BAD_TEST)
        damage(root / "train" / "class_0" / "0000.jpg")

    refused = call(verb, *words)
    assert (refused.code, "Traceback" in refused.errors) == (3, False), refused.errors
    if case == "ensemble":
        assert "leave them out: cnnlab train dataset=folder" in refused.errors
    repair(root)
    again = call(verb, *words)
    assert again.code == 0, again.errors


def test_what_is_left_out_is_recorded_and_the_same_on_resuming(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = (*WORDS, f"dataset.root={root}", "dataset.on_bad=skip", f"hydra.run.dir={run}")
    begun = call(*words)
    assert begun.code == 0, begun.errors
    facts = json.loads((run / "run.json").read_text())
    assert [item["path"] for item in facts["left_out"]["train"]] == BAD
    assert [item["path"] for item in facts["left_out"]["test"]] == [BAD_TEST]
    assert all("damaged" in item["reason"] for item in facts["left_out"]["train"])
    assert "validation" not in facts["left_out"]

    more = call("train", f"resume={run}", "trainer.epochs=2")
    assert more.code == 0, more.errors
    answer = json.loads(call("evaluate", f"checkpoint={run}", "format=json").output)
    assert (answer["num_images"], answer["data_as_recorded"]) == (15, True)

    damage(root / "train" / "class_1" / "0000.jpg")
    refused = call("train", f"resume={run}", "trainer.epochs=3")
    assert (refused.code, "the images differ" in refused.errors) == (2, True)


def test_a_resumed_run_that_meets_a_bad_file_is_told_the_whole_command(
    root: Path, tmp_path: Path
) -> None:
    for name in BAD:
        (root / "train" / name).unlink()
    (root / "test" / BAD_TEST).unlink()
    run = tmp_path / "run"
    begun = call(*WORDS, f"dataset.root={root}", f"hydra.run.dir={run}")
    assert begun.code == 0, begun.errors
    damage(root / "train" / "class_1" / "0003.jpg")
    refused = call("train", f"resume={run}", "trainer.epochs=2")
    assert refused.code == 3, refused.errors
    command = shlex.split(refused.errors.partition("leave them out: ")[2])
    again = call(*command[1:])
    assert again.code == 0, again.errors


def test_an_evaluation_leaves_bad_files_out_when_asked(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in BAD:
        (root / "train" / name).unlink()
    (root / "test" / BAD_TEST).unlink()
    assert call(*WORDS, f"dataset.root={root}", f"hydra.run.dir={run}").code == 0
    damage(root / "test" / "class_0" / "0000.jpg")
    refused = call("evaluate", f"checkpoint={run}")
    assert refused.code == 3, refused.errors
    assert "1 of 15 test files" in refused.errors
    command = shlex.split(refused.errors.partition("leave them out: ")[2])
    again = call(*command[1:], "format=json")
    assert again.code == 0, again.errors
    answer = json.loads(again.output)
    assert (answer["num_images"], answer["data_as_recorded"]) == (14, False)


def test_skipping_gives_the_images_that_preparing_with_skipping_gives(
    root: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    words = ("dataset=folder", f"dataset.root={root}", "dataset.image_size_pixels=12")
    prepared = call("prepare", *words, f"output={store}", "on_bad=skip", "max_bad_fraction=0.5")
    assert prepared.code == 0, prepared.errors
    files = load(root, on_bad="skip", num_validation=8).stores()
    for name, other in load(store, num_validation=8).stores().items():
        everything = torch.arange(len(other))
        assert torch.equal(files[name].labels, other.labels)
        assert torch.equal(files[name].read(everything), other.read(everything))


def test_without_a_bad_file_skipping_changes_nothing(tmp_path: Path) -> None:
    root = write_train_and_test(tmp_path / "whole", each=4)
    skipping, strict = load(root, on_bad="skip"), load(root)
    assert skipping.train.digest == strict.train.digest
    assert skipping.train.note == strict.train.note


def test_a_class_without_a_usable_image_is_refused(root: Path) -> None:
    for path in (root / "train" / "class_2").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="1 class has no usable training image") as caught:
        load(root, on_bad="skip")
    assert caught.value.where == "class_2"


def test_a_split_without_a_usable_image_is_refused(root: Path) -> None:
    for path in (root / "test").rglob("*.jpg"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="no test file holds a usable image"):
        load(root, on_bad="skip")


@pytest.mark.parametrize(
    ("emptied", "refusal"),
    [
        (["train/class_2"], "1 class has no usable training image\n  class_2"),
        (["train/class_1", "train/class_3"], "2 classes have no usable training image"),
        (["test"], "no test file holds a usable image"),
    ],
    ids=str,
)
def test_preparing_refuses_what_training_refuses(
    root: Path, tmp_path: Path, emptied: list[str], refusal: str
) -> None:
    for folder in emptied:
        for path in (root / folder).rglob("*.jpg"):
            path.write_bytes(b"x")
    words = ("dataset=folder", f"dataset.root={root}", "dataset.image_size_pixels=12")
    skipping = ("on_bad=skip", "max_bad_fraction=1")
    refused = call("prepare", *words, *skipping, f"output={tmp_path / 'store'}")
    assert (refused.code, refused.is_clean) == (3, True)
    assert refusal in refused.errors
    assert not (tmp_path / "store").exists()
    with pytest.raises(DataError, match=refusal.partition("\n")[0]):
        load(root, on_bad="skip")


def test_a_test_class_may_lose_every_image(root: Path, tmp_path: Path) -> None:
    for path in (root / "test" / "class_2").iterdir():
        path.write_bytes(b"x")
    words = ("dataset=folder", f"dataset.root={root}", "dataset.image_size_pixels=12")
    skipping = ("on_bad=skip", "max_bad_fraction=0.9")
    prepared = call("prepare", *words, *skipping, f"output={tmp_path / 'store'}")
    assert prepared.code == 0, prepared.errors


def test_preparing_has_a_setting_of_its_own(root: Path, tmp_path: Path) -> None:
    words = ("dataset=folder", f"dataset.root={root}", "dataset.on_bad=skip")
    refused = call("prepare", *words, f"output={tmp_path / 'store'}")
    assert (refused.code, "dataset.on_bad has no effect" in refused.errors) == (2, True)


@pytest.mark.parametrize("name", ["visualize", "summary", "benchmark"])
def test_every_command_that_reads_a_set_tells_the_whole_command(
    name: str, root: Path, tmp_path: Path
) -> None:
    run, here = tmp_path / "run", f"dataset.root={root}"
    for bad in BAD:
        (root / "train" / bad).unlink()
    (root / "test" / BAD_TEST).unlink()
    if name == "visualize":
        assert call(*WORDS, here, f"hydra.run.dir={run}").code == 0
    damage(root / ("test" if name == "visualize" else "train") / "class_0" / "0000.jpg")
    words = {
        "visualize": [f"checkpoint={run}", "what=[filters]", f"output={tmp_path / 'pictures'}"],
        "summary": ["init_report=true", "num_images=4", "dataset=folder", here, "model=linear"],
        "benchmark": [
            *(word for word in WORDS[1:] if not word.startswith("logging.")),
            *(here, "seconds_per_part=0.001"),
        ],
    }
    refused = call(name, *words[name])
    assert refused.code == 3, refused.errors
    command = shlex.split(refused.errors.partition("leave them out: ")[2])
    assert command[1:] == [name, *words[name], "dataset.on_bad=skip"]
    again = call(*command[1:])
    assert again.code == 0, again.errors
