"""Old runs still open: they are resumed, evaluated, listed and begun from, with the same answers.

The corpus was written by commit 14d7807, before the sources were rearranged; README.md says how.
Nothing here knows more of the package than its command line, its files and `cnnlab.load`.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnnlab.config import of_earlier_run
from tests.corpus import asking
from tests.golden.processor import processor

CORPUS = Path(__file__).parent
FOLDERS = ("pictures", "stores", "outputs", "converted")
EXPECTED = json.loads((CORPUS / "expected.json").read_text())
IS_SAME_PROCESSOR = processor() == EXPECTED["processor"]
TOLERANCE = 1e-3
MOST_BYTES = 2_000_000

YOUNG = {
    "model": ("weights", "replace_head", "train_layers"),
    "dataset": ("on_bad",),
    "runtime": ("compile",),
}
"""Keys that config.yaml may lack: each states what runs did before it."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the corpus, which is the working folder."""
    for name in FOLDERS:
        shutil.copytree(CORPUS / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def agree(found: Any, expected: Any, where: str = "") -> None:
    """Compare two answers: exactly on the processor of the corpus, else to TOLERANCE."""
    if IS_SAME_PROCESSOR:
        assert found == expected, where
        return
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        if "sum_of_magnitudes" in expected:
            agree_tensor(found, expected, where)
            return
        for key in expected:
            agree(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            agree(one, other, f"{where}/{i}")
    elif where.endswith("/stop_reason"):
        assert bool(found) == bool(expected), where  # it holds rounded figures
    elif is_float(expected):
        close = pytest.approx(float.fromhex(expected), rel=TOLERANCE, abs=TOLERANCE)
        assert float.fromhex(found) == close, where
    else:
        assert found == expected, where


def agree_tensor(found: dict[str, Any], expected: dict[str, Any], where: str) -> None:
    """Compare two tensors by what is known of them: shape, type and sums."""
    scale = float.fromhex(expected["sum_of_magnitudes"])
    for key in ("shape", "type"):
        assert found[key] == expected[key], where
    for key in ("sum", "sum_of_magnitudes"):
        difference = abs(float.fromhex(found[key]) - float.fromhex(expected[key]))
        assert difference <= TOLERANCE * scale, f"{where}/{key}"


def is_float(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip("-").startswith("0x")


def edit(run: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a run's config.yaml in place."""
    path, config = Path(run, "config.yaml"), asking.config_of(run)
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


LONG = ("alexnet_cifar_color", "ensemble")
"""Runs that are opened and continued with the slow tests alone."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in asking.runs()],
)
def test_an_old_run_answers_as_it_did_and_is_continued(name: str, home: Path) -> None:
    run, expected = f"outputs/{name}", EXPECTED["runs"][name]

    agree(asking.evaluated(run), expected["evaluate"], "evaluate")
    agree(asking.predicted(run), expected["predict"], "predict")
    agree(asking.loaded(run), expected["load"], "load")
    agree(asking.visualized(run, f"seen/{name}"), expected["visualize"], "visualize")
    agree(asking.after_resume(run), expected["resume"], "resume")


def test_the_interrupted_run_ends_as_the_uninterrupted_did() -> None:
    resumed, whole = EXPECTED["runs"]["lenet5_stopped"]["resume"], EXPECTED["uninterrupted"]
    assert {key: resumed[key] for key in whole} == whole
    assert resumed["after_step"] % 40, "it was to stop within an epoch"


def test_old_runs_are_listed_and_compared(home: Path) -> None:
    agree(asking.listed(), EXPECTED["list"], "list")
    agree(asking.compared(), EXPECTED["compare"], "compare")


@pytest.mark.parametrize("name", ["pixels", "jpegs"])
def test_an_old_store_is_verified(name: str, home: Path) -> None:
    assert asking.store_facts(f"stores/{name}") == EXPECTED["stores"][name]


def test_a_store_that_was_changed_is_found_out(home: Path) -> None:
    path = home / "stores" / "pixels" / "train_00000.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    assert asking.store_facts("stores/pixels")["exit_code"] == 3


def test_training_starts_from_an_old_run(home: Path) -> None:
    found = asking.fine_tuned_from("outputs/lenet5_affine", "outputs/tuned_again")
    agree(found, EXPECTED["fine_tune"], "fine_tune")


def test_plain_weights_written_then_are_written_again(home: Path) -> None:
    asking.done("convert", "source=outputs/lenet5_on_folder", "output=again.safetensors")

    then = asking.tensors_of(Path("converted/lenet5.safetensors"))
    assert then == EXPECTED["converted"]
    assert asking.tensors_of(Path("again.safetensors")) == then


def test_plain_weights_written_then_are_taken_back(home: Path) -> None:
    asking.done("convert", "source=converted/lenet5.safetensors", "output=back.safetensors")
    assert asking.loaded("back.safetensors") == asking.loaded("outputs/lenet5_on_folder")


def test_an_old_sweep_is_compared_and_evaluated(home: Path) -> None:
    runs = sorted(path.parent.as_posix() for path in Path("outputs/sweep").rglob("run.json"))
    agree(asking.answers_of_sweep(runs), EXPECTED["sweep"], "sweep")


@pytest.mark.parametrize("name", ["linear_on_store", "linear_on_jpegs", "lenet5_on_folder"])
def test_the_data_of_an_old_run_may_have_moved(name: str, home: Path) -> None:
    root = asking.config_of(f"outputs/{name}")["dataset"]["root"]
    shutil.move(root, "moved")

    assert asking.call("evaluate", f"checkpoint=outputs/{name}", *asking.HERE)[0] == 3
    found = asking.resumed(f"outputs/{name}", *asking.RESUMED[name], "dataset.root=moved")
    agree(found, EXPECTED["runs"][name]["resume"], "resume")


def forget_young_keys(config: dict[str, Any]) -> None:
    for section, keys in YOUNG.items():
        for key in keys:
            config[section].pop(key, None)


@pytest.mark.parametrize("name", ["lenet5_stopped", "lenet5_on_folder"])
def test_a_config_without_the_younger_keys_is_continued(name: str, home: Path) -> None:
    before = asking.config_of(f"outputs/{name}")
    edit(f"outputs/{name}", forget_young_keys)
    asking.done("train", f"resume=outputs/{name}", *asking.RESUMED[name])

    after = asking.config_of(f"outputs/{name}")
    assert {**after, "trainer": None} == {**of_earlier_run(before), "trainer": None}
    agree_end(f"outputs/{name}", EXPECTED["runs"][name]["resume"])


def test_a_younger_key_that_was_in_use_cannot_be_forgotten(home: Path) -> None:
    """What fills it in is `from scratch`, and the checkpoint says that the run was not."""
    edit("outputs/fine_tuned", forget_young_keys)
    code, _, err = asking.call("train", "resume=outputs/fine_tuned", "trainer.epochs=3")

    assert code == 2
    assert "model.weights" in err


def agree_end(run: str, expected: dict[str, Any]) -> None:
    after_step = expected["after_step"]
    found = {"after_step": after_step, **asking.trained(Path(run), after_step)}
    agree(found, expected, "resume")


def test_the_oldest_config_lacks_every_younger_key() -> None:
    config = asking.config_of(str(CORPUS / "outputs" / "older_mlp"))
    assert not [key for section, keys in YOUNG.items() for key in keys if key in config[section]]


def test_a_config_with_an_unknown_key_is_refused(home: Path) -> None:
    edit("outputs/lenet5_affine", lambda config: config["trainer"].update(epoch_count=3))
    code, _, err = asking.call("train", "resume=outputs/lenet5_affine", "trainer.epochs=3")

    assert code == 2
    assert "epoch_count" in err


def test_another_model_is_another_run(home: Path) -> None:
    code, _, err = asking.call("train", "resume=outputs/lenet5_affine", "model.width=0.5")

    assert code == 2
    assert "model.width" in err


def test_the_corpus_is_small_and_names_no_machine() -> None:
    files = [path for folder in FOLDERS for path in (CORPUS / folder).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    for path in files:
        content = path.read_bytes()
        assert not any(word in content for word in (b"/tmp/", b"/work/", b"/root/", b"/home/")), (
            path
        )
