"""Asks the old runs in the working folder, through the command line and the files that it leaves.

Both `write` and the tests ask here, so that they ask the same; nothing of the package is imported
but its command and `cnnlab.load`, which stay where they are whatever moves inside.
"""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

import cnnlab
from cnnlab.cli import main

HERE = ["runtime.device=cpu", "runtime.num_threads=1"]
TRUTH = re.compile(r"train/|validation/|test/")
"""The series of metrics.jsonl that depend on nothing but the settings."""

VOLATILE = {"started", "ended", "pid", "time", "seconds", "host", "num_processors", "platform"}
RESUMED: dict[str, list[str]] = {
    "lenet5_stopped": [],
    "lenet5_affine": ["trainer.epochs=3"],
    "lenet5_1998": ["trainer.epochs=3"],
    "two_tower_alexnet": ["trainer.epochs=3"],
    "mlp_plateau": ["trainer.epochs=8"],
    "four_layer_accumulated": ["trainer.epochs=3"],
    "alexnet_cifar_color": ["trainer.epochs=3"],
    "fine_tuned": ["trainer.epochs=3"],
    "linear_on_store": ["trainer.epochs=3"],
    "linear_on_jpegs": ["trainer.epochs=3"],
    "lenet5_on_folder": ["trainer.epochs=3"],
    "older_mlp": ["trainer.epochs=3"],
    "ensemble": ["trainer.epochs=3"],
}
"""Run -> what continues it: nothing where it was interrupted, else more epochs."""

VIEWS = {
    "lenet5_stopped": "evaluation=center",
    "lenet5_affine": "evaluation=five_crop evaluation.padding_pixels=2",
    "lenet5_1998": "evaluation=center",
    "two_tower_alexnet": "evaluation=ten_view",
    "mlp_plateau": "evaluation=center",
    "four_layer_accumulated": "evaluation=ten_view evaluation.padding_pixels=3",
    "alexnet_cifar_color": "evaluation=grid_3x3",
    "fine_tuned": "evaluation=center",
    "linear_on_store": "evaluation=center",
    "linear_on_jpegs": "evaluation=five_crop evaluation.padding_pixels=2",
    "lenet5_on_folder": "evaluation=center",
    "older_mlp": "evaluation=center",
    "ensemble": "evaluation=center",
}


def call(*words: str) -> tuple[int, str, str]:
    """Run one command in this process; return its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


def done(*words: str) -> str:
    """Run one command that must succeed; return its stdout."""
    code, out, err = call(*words)
    assert code == 0, f"cnnlab {' '.join(words)}: exit code {code}\n{out}{err}"
    return out


def exact(value: Any) -> Any:
    """Return plain data with every float as its hexadecimal form, and without what varies."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items() if key not in VOLATILE}
    return [exact(item) for item in value] if isinstance(value, list) else value


def evaluated(run: str) -> Any:
    words = [f"checkpoint={run}", *VIEWS[Path(run).name].split(), "format=json"]
    return exact(json.loads(done("evaluate", *words, *HERE)))


def tensors_of(path: Path) -> dict[str, Any]:
    """Return name -> shape, type, first digits of the SHA-256, and sums of each tensor."""
    return {
        name: {
            "shape": list(array.shape),
            "type": str(array.dtype),
            "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16],
            "sum": float(array.astype(np.float64).sum()).hex(),
            "sum_of_magnitudes": float(np.abs(array.astype(np.float64)).sum()).hex(),
        }
        for name, array in sorted(load_file(path).items())
    }


def series_of(run: Path, after_step: int = 0) -> list[dict[str, Any]]:
    """Return what metrics.jsonl tells of the steps after `after_step`, exactly."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {"step": line["step"]} | {k: exact(v) for k, v in line.items() if TRUTH.match(k)}
        for line in lines
        if line["step"] > after_step
    ]


def trained(run: Path, after_step: int = 0) -> dict[str, Any]:
    """Return what a finished run left: its series, and the tensors of its last checkpoint."""
    facts = json.loads((run / "run.json").read_text())
    return {
        "status": facts["status"],
        "stop_reason": facts.get("stop_reason"),
        "test_error": exact(facts.get("test_error")),
        "series": series_of(run, after_step),
        "tensors": tensors_of(run / "checkpoints" / "last.safetensors"),
    }


def step_of(run: Path) -> int:
    """Return the step of a run's last checkpoint, as its header tells it."""
    with safe_open(run / "checkpoints" / "last.safetensors", "np") as file:
        return int(json.loads(file.metadata()["cnnlab"])["step"])


def resumed(run: str, *words: str) -> dict[str, Any]:
    """Continue a run to its end; return what the continuation did."""
    before = step_of(Path(run))
    done("train", f"resume={run}", *words)
    return {"after_step": before, **trained(Path(run), before)}


def resumed_ensemble(run: str, *words: str) -> dict[str, Any]:
    """Continue an ensemble, whose members are processes of their own."""
    members = sorted(path.parent for path in Path(run, "members").rglob("run.json"))
    before = [step_of(member) for member in members]
    done("train", f"resume={run}", *words)
    found = {
        member.relative_to(run).as_posix(): {"after_step": step, **trained(member, step)}
        for member, step in zip(members, before, strict=True)
    }
    return {
        "test_error": exact(json.loads(Path(run, "run.json").read_text())["test_error"]),
        **found,
    }


def fine_tuned_from(run: str, folder: str) -> dict[str, Any]:
    """Begin a training on the pictures with an old run's weights, its first layers frozen."""
    done("train", *fine_tuning(run), *LEAN, "trainer.epochs=1", f"hydra.run.dir={folder}")
    return trained(Path(folder))


LEAN = [
    *HERE,
    "logging.report=false",
    "logging.tensorboard=false",
    "logging.progress=false",
    "trainer.log_every_steps=1",
]


def fine_tuning(run: str) -> list[str]:
    return [
        "model=lenet5",
        "model.width=0.25",
        f"model.weights={run}",
        "model.replace_head=true",
        "model.train_layers=from:c5",
        "dataset=folder",
        "dataset.root=pictures",
        "dataset.image_size_pixels=32",
        "dataset.channels=1",
        "dataset.num_validation=4",
        "trainer.batch_size=4",
    ]


def predicted(run: str) -> Any:
    """Return the answers of `predict` on stored pictures, without what it says of the checkpoint.

    That is younger than the corpus.
    """
    pictures = "images=[pictures/test/leaf,pictures/test/sea]"
    found = done("predict", f"checkpoint={run}", pictures, "top=3", "format=json", *HERE)
    answers = {key: value for key, value in json.loads(found).items() if key != "networks"}
    return exact(answers)


def loaded(run: str) -> dict[str, Any]:
    """Return what `cnnlab.load` says of one stored picture."""
    image = np.asarray(Image.open("pictures/test/leaf/0.png").convert("RGB"))
    found = cnnlab.load(run, device="cpu").predict(image[None])
    chances = found.probabilities.double().sum(0).tolist()
    return {"names": found.names, "classes": list(found.class_names), "chances": exact(chances)}


def listed() -> Any:
    """Return the rows of `list runs`, which looks below outputs/."""
    return exact(json.loads(done("list", "runs", "format=json")))


def compared() -> Any:
    pairs = {
        "of one model": "runs=[outputs/lenet5_affine,outputs/lenet5_on_folder]",
        "of several": "runs=[outputs/mlp_plateau,outputs/lenet5_1998,outputs/ensemble]",
    }
    return {name: side_by_side(runs) for name, runs in pairs.items()}


def side_by_side(runs: str) -> Any:
    """Return what `compare` says of runs, without the groups that it makes of their seeds.

    Those are younger than the corpus, and made of the same figures.
    """
    found = json.loads(done("compare", runs, "format=json"))
    return exact({key: value for key, value in found.items() if key != "groups"})


def answers_of_sweep(runs: list[str]) -> dict[str, Any]:
    """Return how the jobs of a sweep differ, what each answers, and the table of them all."""
    evaluate = [done("evaluate", f"checkpoint={run}", "format=json", *HERE) for run in runs]
    return {
        "compare": side_by_side(f"runs=[{','.join(runs)}]"),
        "evaluate": [exact(json.loads(answer)) for answer in evaluate],
        "results": Path("outputs/sweep/results.csv").read_text().splitlines(),
    }


def visualized(run: str, folder: str) -> dict[str, Any]:
    code, _, _ = call(
        "visualize", f"checkpoint={run}", "what=filters", f"output={folder}", "formats=[png]", *HERE
    )
    names = sorted(path.name for path in Path(folder).rglob("*") if path.is_file())
    return {"exit_code": code, "names": names}


def store_facts(folder: str) -> dict[str, Any]:
    """Return what a prepared Store says of itself, and what checking it says."""
    code, out, _ = call("prepare", f"output={folder}", "verify=true")
    manifest = json.loads(Path(folder, "manifest.json").read_text())
    kept = ("class_names", "image_shape", "source", "sha256", "mirror_allowed", "format_version")
    counts = {name: split["num_images"] for name, split in manifest["splits"].items()}
    return {
        "exit_code": code,
        "said": out.strip(),
        "num_images": counts,
        **{key: manifest[key] for key in kept},
    }


def config_of(run: str) -> Any:
    return yaml.safe_load(Path(run, "config.yaml").read_text())


def runs() -> list[str]:
    return sorted(RESUMED)


def after_resume(run: str) -> dict[str, Any]:
    """Continue a run of outputs/ as RESUMED says."""
    name = Path(run).name
    how: Callable[..., dict[str, Any]] = resumed_ensemble if name == "ensemble" else resumed
    return how(run, *RESUMED[name])
