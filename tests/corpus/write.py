"""Writes the corpus of old runs: `python -m tests.corpus.write FOLDER`, from the repository root.

The corpus beside this file was written by commit 14d7807 and is meant to stay as it is: it is what
earlier versions left behind. Write another one into another folder, to see what has changed.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.corpus import asking
from tests.corpus.asking import LEAN, done
from tests.golden.processor import processor

CLASSES = ("leaf", "sea", "sun")
HOST = "elsewhere"
ROOT = Path(__file__).parents[2]
OLDER = "3817f74~1"
"""A commit before model.weights, model.train_layers, dataset.on_bad and runtime.compile."""

OLDER_WORDS = ["model=mlp", "model.hidden_units=[4]", "dataset=folder", "dataset.root=pictures"]
OLDER_WORDS += ["dataset.image_size_pixels=12", "dataset.num_validation=4", "trainer.batch_size=4"]
OLDER_WORDS += ["trainer.epochs=2"]
SMALL = ["trainer.epochs=2", "trainer.limit_train_batches=4", "trainer.batch_size=16"]
SYNTHETIC = ["dataset=synthetic", "dataset.num_train=120", "dataset.num_validation=40"]
FEW = [*SYNTHETIC, "dataset.num_test=40", "dataset.num_classes=5"]
OWN = ["trainer.epochs=2", "trainer.batch_size=4"]

STOPPED = ["model.width=0.25", "trainer.epochs=4", "trainer.limit_train_batches=40"]
STOPPED = [*STOPPED, "saving.every_steps=5"]
RUNS: dict[str, list[str]] = {
    "lenet5_affine": [
        "model=lenet5", "model.width=0.25", "augment=affine", "schedule=cosine",
        "schedule.warmup_epochs=0.5", "evaluation=five_crop", "evaluation.padding_pixels=2", *SMALL,
    ],
    "lenet5_1998": [
        "experiment=lenet5_1998", "optimizer.num_curvature_images=24", "trainer.epochs=2",
        "trainer.limit_train_batches=4", "schedule.at_epochs=[1]", "schedule.fractions=[1.0,0.4]",
    ],
    "two_tower_alexnet": [
        "model=alexnet_two_tower", "model.width=0.0625", "model.without_layers=[fc7]", *FEW,
        "dataset.image_size_pixels=68", "dataset.normalize=pixel", "augment=alexnet",
        "augment.crop_pixels=64", "optimizer=sgd_2012", "schedule=step", "schedule.at_epochs=[1]",
        "evaluation=ten_view", *SMALL,
    ],
    "mlp_plateau": [
        "model=mlp", "model.hidden_units=[4]", "optimizer=adamw", "optimizer.learning_rate=0.2",
        "schedule=plateau", "schedule.patience_epochs=1", "schedule.max_drops=2",
        "trainer.early_stop_epochs=2", "trainer.epochs=7", "trainer.limit_train_batches=3",
        "trainer.batch_size=16", "augment=none",
    ],
    "four_layer_accumulated": [
        "model=four_layer", "model.width=0.125", *FEW, "dataset.normalize=channel",
        "augment=crop_mirror", "augment.padding_pixels=3", "optimizer=sgd_2012",
        "schedule=constant", "trainer.accumulate=4", *SMALL,
    ],
    "alexnet_cifar_color": [
        "model=alexnet_cifar", "model.width=0.0625", *FEW, "dataset.image_size_pixels=40",
        "augment=resized_crop", "augment.crop_pixels=32", "augment.min_area_fraction=0.3",
        "evaluation=grid_3x3", *SMALL,
    ],
    "fine_tuned": [*asking.fine_tuning("outputs/lenet5_affine"), "trainer.epochs=2"],
    "linear_on_store": [
        "model=linear", "dataset=store", "dataset.root=stores/pixels", "augment=crop_mirror",
        "dataset.image_size_pixels=12", "dataset.num_validation=4", *OWN,
    ],
    "linear_on_jpegs": [
        "model=linear", "dataset=store", "dataset.root=stores/jpegs", "augment=none",
        "dataset.image_size_pixels=12", "dataset.num_validation=4", *OWN,
    ],
    "lenet5_on_folder": [
        "model=lenet5", "model.width=0.25", "dataset=folder", "dataset.root=pictures",
        "dataset.image_size_pixels=32", "dataset.num_validation=4", *OWN,
    ],
    "ensemble": [
        "model=lenet5", "model.width=0.25", "ensemble.members=2", *SMALL,
    ],
}  # fmt: skip
"""Run -> the words that trained it, besides LEAN and its folder."""


def commands() -> Iterator[list[str]]:
    """Yield every command but the interrupted one, in the order they were given."""
    for name, words in (("pixels", ["encoding=uint8"]), ("jpegs", ["encoding=jpeg"])):
        root = ["dataset=folder", "dataset.root=pictures", "side_pixels=24"]
        yield ["prepare", *root, f"output=stores/{name}", *words]
    for name, words in RUNS.items():
        yield ["train", *words, *LEAN, f"hydra.run.dir=outputs/{name}"]
    sweep = ["model=linear", "optimizer.learning_rate=0.01,0.1", "dataset=folder", *OWN]
    sweep += ["dataset.root=pictures", "dataset.image_size_pixels=12", "dataset.num_validation=4"]
    yield ["train", *sweep, *LEAN, "-m", "hydra.sweep.dir=outputs/sweep"]
    yield ["convert", "source=outputs/lenet5_on_folder", "output=converted/lenet5.safetensors"]


def write_pictures(root: Path) -> None:
    """Write small pictures of three classes, told apart by their color, PNG and JPEG."""
    generator = np.random.default_rng(0)
    for split, number in (("train", 8), ("test", 3)):
        for position, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i in range(number):
                coarse = generator.integers(0, 160, (3, 4, 3), dtype=np.uint8)
                coarse[..., position] += 95
                small = Image.fromarray(coarse).resize((30 + i, 26), Image.Resampling.BICUBIC)
                small.save(root / split / name / (f"{i}.png" if i % 2 == 0 else f"{i}.jpg"))


def interrupt_a_run() -> None:
    """Train STOPPED to its end, then again with a SIGINT at some step of its second epoch."""
    words = ["train", "model=lenet5", *STOPPED, *LEAN]
    done(*words, "hydra.run.dir=whole")
    folder = Path("outputs/lenet5_stopped")
    program = "import sys; from cnnlab.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *words, f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while (
        process.poll() is None and not (folder / "checkpoints/step_00000050.safetensors").exists()
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert asking.step_of(folder) % 40, "stopped at the end of an epoch: write again"


def write_an_older_run() -> None:
    """Train with the sources of OLDER, whose configs lack keys that are there today."""
    with tempfile.TemporaryDirectory() as place:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", OLDER, "src", "configs"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip
        subprocess.run(["tar", "x", "-C", place], input=archive, check=True)
        words = ["train", *OLDER_WORDS, *LEAN, "hydra.run.dir=outputs/older_mlp"]
        environment = os.environ | {"PYTHONPATH": f"{place}/src"}
        program = "import sys; from cnnlab.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *words]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    text = Path("outputs/older_mlp/config.yaml").read_text()
    assert not [key for key in ("weights:", "train_layers:", "on_bad:", "compile:") if key in text]


def trim() -> None:
    """Remove what no test reads: each checkpoint is kept once, `best` where it is not `last`."""
    for folder in list(Path("outputs").rglob("checkpoints")):
        if not any(folder.iterdir()):
            folder.rmdir()  # of the ensemble itself; git would not keep it
            continue
        last = (folder / "last.safetensors").read_bytes()
        for path in folder.glob("step_*.safetensors"):
            path.unlink()
        if (folder / "best.safetensors").read_bytes() == last:
            (folder / "best.safetensors").unlink()
    for name in ("*.html", "events.out.tfevents.*", "metrics.csv", "train.log", "multirun.yaml"):
        for path in Path("outputs").rglob(name):
            path.unlink()


def hide_the_machine() -> None:
    """Replace what names the machine that wrote the runs."""
    names = {os.uname().nodename: HOST, str(Path.cwd()): ".", sys.executable: "python"}
    for path in [*Path("outputs").rglob("*.json"), *Path("outputs").rglob("lock")]:
        text = path.read_text()
        for name, other in names.items():
            text = text.replace(f'"{name}"', f'"{other}"')
        text = re.sub(r'"platform": "[^"]*"', '"platform": "Linux"', text)
        path.write_text(text)
    _shorten_weights(Path("outputs/fine_tuned"))


def _shorten_weights(run: Path) -> None:
    """Make the path of the weights that a run started from a relative one, in all its files."""
    from cnnlab import checkpoint  # as it was when the corpus was written

    here = f"{Path.cwd()}/"
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(here, ""))
    for path in (run / "checkpoints").iterdir():
        held = checkpoint.read(path)
        document = json.loads(json.dumps(held.document).replace(here, ""))
        checkpoint.write(path, held.tensors, document)


def write_runs() -> None:
    """Write pictures, Stores and runs into the working folder."""
    write_pictures(Path("pictures"))
    Path("converted").mkdir()
    interrupt_a_run()
    for words in commands():
        print("cnnlab", shlex.join(words), flush=True)
        done(*words)
    write_an_older_run()
    trim()
    hide_the_machine()


def expected() -> dict[str, Any]:
    """Return the answers of a whole corpus, which is the working folder and is changed by it."""
    found: dict[str, Any] = {"processor": processor(), "runs": {}}
    found["uninterrupted"] = asking.trained(
        Path("whole"), asking.step_of(Path("outputs/lenet5_stopped"))
    )
    shutil.rmtree("whole")
    found["list"], found["compare"] = asking.listed(), asking.compared()
    found["stores"] = {name: asking.store_facts(f"stores/{name}") for name in ("pixels", "jpegs")}
    found["fine_tune"] = asking.fine_tuned_from("outputs/lenet5_affine", "outputs/tuned_again")
    for name in asking.runs():
        run = f"outputs/{name}"
        found["runs"][name] = {
            "evaluate": asking.evaluated(run),
            "predict": asking.predicted(run),
            "load": asking.loaded(run),
            "visualize": asking.visualized(run, f"seen/{name}"),
        }
        found["runs"][name]["resume"] = asking.after_resume(run)
    jobs = sorted(path.parent.as_posix() for path in Path("outputs/sweep").rglob("run.json"))
    found["sweep"] = asking.answers_of_sweep(jobs)
    found["converted"] = asking.tensors_of(Path("converted/lenet5.safetensors"))
    return found


def laid_out(value: Any, indent: int = 0) -> str:
    """Return JSON with one line per innermost mapping, so that a difference is one line."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(v, dict | list) for v in inner):
        return json.dumps(value, sort_keys=True)
    margin = " " * (indent + 1)
    if isinstance(value, list):
        parts = [laid_out(item, indent + 1) for item in value]
        opening, closing = "[", "]"
    else:
        parts = [f"{json.dumps(k)}: {laid_out(value[k], indent + 1)}" for k in sorted(value)]
        opening, closing = "{", "}"
    return f"{opening}\n{margin}" + f",\n{margin}".join(parts) + f"\n{' ' * indent}{closing}"


def write(folder: Path) -> None:
    """Write the corpus into a new folder: the runs, then expected.json from a copy of them."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    write_runs()
    copy = folder.with_name(f"{folder.name}_asked")
    shutil.copytree(folder, copy)
    shutil.rmtree("whole")
    os.chdir(copy)
    answers = laid_out(expected()) + "\n"
    (folder / "expected.json").write_text(answers)
    shutil.rmtree(copy)


if __name__ == "__main__":
    write(Path(sys.argv[1]).absolute())
