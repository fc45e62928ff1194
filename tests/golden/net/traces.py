"""Traces of training and testing through the command line, and how to write them.

`python -m tests.golden.net.traces` writes traces.json anew, from the repository root. It may be
rewritten only for a change that is meant to change what training or testing computes, and the
commit says which cases changed and why; never to make a refactoring pass. A new case is added by
`python -m tests.golden.net.traces NAME ...`, which leaves all others as they are.

Nothing here knows the inside of cnnlab: only `cnnlab.cli.main`, words that one could type, and the
files that a run leaves. So the traces hold while modules are moved and renamed.
"""

import contextlib
import hashlib
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from cnnlab.cli import main
from tests.golden.net.cases import COMMON, EVALUATIONS, RESUMED, TRAININGS
from tests.golden.processor import processor

FILE = Path(__file__).with_name("traces.json")
ALSO = ("status", "stop_reason", "best_validation_error", "test_error", "data_digests")
"""What run.json adds to the figures of metrics.jsonl."""
ANSWERED = ("num_images", "top1_error", "top5_error", "cross_entropy", "data_as_recorded")
DIGITS_KEPT = 6
Trace = dict[str, Any]


class Runs:
    """Trains each case once, in a folder below `root`, when its trace or its network is wanted."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def training(self, case: str) -> Trace:
        """Return the trace of a training."""
        return trace_of(self.folder(case))

    def folder(self, case: str) -> Path:
        """Return the run folder of a case, trained now unless it has been."""
        folder = self.root / case
        if not folder.is_dir():
            words = self._filled(TRAININGS[case])
            self._call(f"train {COMMON} hydra.run.dir={folder}", *words)
            if case in RESUMED:
                self._call(f"train resume={folder}", *RESUMED[case].split())
        return folder

    def evaluation(self, case: str) -> Trace:
        """Return what `cnnlab evaluate` answers, and the probabilities behind it."""
        output = self.root / "evaluations" / case
        words = self._filled(EVALUATIONS[case])
        common = "evaluate runtime.device=cpu runtime.num_threads=1 format=json"
        answer = json.loads(self._call(f"{common} save_probabilities=true output={output}", *words))
        arrays = {path.stem: np.load(path) for path in sorted(output.glob("*.npy"))}
        return {
            "figures": {key: exact(answer[key]) for key in ANSWERED},
            "tensors": {name: identity(torch.from_numpy(a)) for name, a in arrays.items()},
        }

    def _filled(self, words: str) -> list[str]:
        """Return the words one by one, with the folders that they name by case."""
        return [re.sub(r"{(.+?)}", lambda m: str(self._named(m[1])), w) for w in words.split()]

    def _named(self, name: str) -> Path:
        """Return a training's run folder, the folder of PNG files or the Store made of them."""
        if name == "pictures":
            return pictures(self.root / "data" / "pictures")
        return self._store() if name == "store" else self.folder(name)

    def _store(self) -> Path:
        path = self.root / "data" / "store"
        if not path.is_dir():
            words = "dataset=folder dataset.root={pictures} dataset.image_size_pixels=28"
            self._call(f"prepare dataset.num_test=9 output={path}", *self._filled(words))
        return path

    def _call(self, line: str, *words: str) -> str:
        """Run a command and return what it printed. Raises AssertionError when it fails."""
        self.root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.chdir(self.root):
            code = main([*line.split(), *words])
        assert code == 0, f"exit code {code}: cnnlab {line} {' '.join(words)}"
        return printed.getvalue()


def trace_of(run: Path) -> Trace:
    """Return the figures and tensors that a run folder holds, and those of its members."""
    lines = run / "metrics.jsonl"
    figures: dict[str, list[Any]] = {}
    for line in lines.read_text().splitlines() if lines.exists() else []:
        for key, value in json.loads(line).items():
            if not key.startswith("speed/"):
                figures.setdefault(key, []).append(exact(value))
    facts = json.loads((run / "run.json").read_text())
    return {
        "figures": {**figures, **{key: exact(facts[key]) for key in ALSO if key in facts}},
        "tensors": tensors_of(run / "checkpoints" / "last.safetensors"),
        "members": [trace_of(path) for path in sorted(run.glob("members/*"))],
    }


def exact(value: Any) -> Any:
    """Return floats as hexadecimal text, whose bits JSON cannot change; the rest as it is."""
    return value.hex() if isinstance(value, float) else value


def tensors_of(file: Path) -> dict[str, str]:
    """Return the identity of every tensor of a checkpoint: weights, optimizer state and others."""
    if not file.exists():
        return {}
    with safe_open(file, "pt") as opened:
        return {name: identity(opened.get_tensor(name)) for name in sorted(opened.keys())}


def identity(values: Tensor) -> str:
    """Return 16 digits of the SHA-256 of the bytes, the sum, and the sum of the magnitudes.

    The sums are for processors on which bits differ: rounded, and computed in float64.
    """
    digest = hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()[:16]
    wide = values.double()
    return f"{digest} {wide.sum():.{DIGITS_KEPT}g} {wide.abs().sum():.{DIGITS_KEPT}g}"


def pictures(folder: Path) -> Path:
    """Write 3 classes of 16 colored PNG files of several sizes, without a random number."""
    for label in range(3):
        (folder / f"class_{label}").mkdir(parents=True, exist_ok=True)
        for number in range(16):
            height, width = 20 + 3 * (number % 5), 20 + 2 * (number % 7)
            rows, columns, planes = np.ogrid[:height, :width, :3]
            levels = rows * (3 + 5 * label) + columns * (11 - 4 * label) + planes * 40 + number * 7
            image = Image.fromarray((levels % 256).astype(np.uint8))
            image.save(folder / f"class_{label}" / f"{number:02}.png")
    return folder


def write(names: list[str]) -> None:
    """Write the traces of this processor: of all cases, or of those named beside the others."""
    known = json.loads(FILE.read_text()) if names else {"trainings": {}, "evaluations": {}}
    assert not names or known["processor"] == processor(), "written on another processor: write all"
    unknown = set(names) - TRAININGS.keys() - EVALUATIONS.keys()
    assert not unknown, f"no such case: {sorted(unknown)}"

    with tempfile.TemporaryDirectory() as root:
        runs = Runs(Path(root))
        for kind, cases, trace in (
            ("trainings", TRAININGS, runs.training),
            ("evaluations", EVALUATIONS, runs.evaluation),
        ):
            new = {case: trace(case) for case in cases if case in names or not names}
            known[kind] = {case: {**known[kind], **new}[case] for case in cases}
    known["processor"] = processor()
    FILE.write_text(as_lines(known))


def as_lines(known: dict[str, Any]) -> str:
    """Return JSON with one line per case, so that a diff shows which cases changed."""
    sections = [
        f'"{kind}": {{\n'
        + ",\n".join(
            f'"{case}": {json.dumps(trace, separators=(",", ":"))}'
            for case, trace in known[kind].items()
        )
        + "\n}"
        for kind in ("trainings", "evaluations")
    ]
    return (
        "{\n" + ",\n".join([f'"processor": {json.dumps(known["processor"])}', *sections]) + "\n}\n"
    )


if __name__ == "__main__":
    write(sys.argv[1:])
