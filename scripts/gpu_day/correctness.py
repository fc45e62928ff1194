"""Whether the GPU computes what the CPU does: losses, whole commands, and the tests marked gpu."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint
from cnnlab.trainer import snapshot
from cnnlab.trainer.assemble import Assembly
from cnnlab.training.loop import Hook, TrainState, fit
from scripts.gpu_day.settings import NARROW, Case, attempt, parts_of
from scripts.gpu_day.task import Task

NUM_STEPS = 4
SMALL: Case = {"dataset.num_train": 64, "dataset.num_test": 10, "trainer.batch_size": 16}
AT_64: Case = {**SMALL, "dataset.image_size_pixels": 64, "model.dropout": 0.0}
NETWORKS: dict[str, Case] = {
    "lenet5": {**SMALL, "model": "lenet5"},
    "alexnet": {**AT_64, "model": "alexnet"},
    "alexnet_two_tower": {**AT_64, "model": "alexnet_two_tower"},
    "alexnet_2014": {**AT_64, "model": "alexnet_2014"},
    "cifar_13pct": {**SMALL, "model": "cifar_13pct"},
    "lenet5_1998": {**SMALL, "model": "lenet5_1998", "dataset.channels": 1},
}
TOLERANCE = {"fp32": 0.003, "tf32": 0.01, "bf16": 0.03}
"""Relative, over the losses of the first updates: rounding, and what it grows to."""


def losses(task: Task) -> None:
    """Compare the losses of the first updates with those of the CPU in float32."""
    narrow = NARROW if task.is_rehearsal else {}
    num_compared, wanted = 0, dict[str, list[float]]()
    for precision in TOLERANCE:
        for name, case in NETWORKS.items():
            width = narrow if name.startswith("alexnet") else {}
            if task.has_time(3, f"{name} {precision}"):
                num_compared += 1
                given = (name, case | width, precision, wanted)
                attempt(task, name, lambda it: like_the_cpu(task, *it), given)

    task.note(f"{num_compared} trainings of {NUM_STEPS} updates beside the CPU's")
    attempt(task, "a checkpoint", lambda _: continued(task), None)


def like_the_cpu(
    task: Task, name: str, case: Case, precision: str, of_cpu: dict[str, list[float]]
) -> None:
    """Check the losses of one network in one precision; of_cpu: those of the CPU, by network."""
    if name not in of_cpu:
        ends = time.monotonic() + task.left()
        of_cpu[name] = first_losses(Task("cpu", task.folder, ends, Path(os.devnull)), case)
    found = first_losses(task, {**case, "runtime.precision": precision})

    apart = max(abs(a - b) / abs(b) for a, b in zip(found, of_cpu[name], strict=True))
    tolerance = TOLERANCE[precision]
    task.check(
        f"{name} in {precision}: losses within {tolerance} of the CPU's",
        apart <= tolerance,
        model=name,
        precision=precision,
        relative_difference=apart,
        losses=found,
    )


def first_losses(task: Task, case: Case) -> list[float]:
    """Return the losses of the first updates."""
    parts = parts_of(task, case)
    return trained(parts, TrainState(parts.network.train(), parts.optimizer))


def trained(parts: Assembly, state: TrainState) -> list[float]:
    """Make NUM_STEPS updates more; return their losses."""
    found: list[torch.Tensor] = []
    note: Hook = lambda state, report: found.append(report.loss)  # noqa: E731
    rate_at, end = parts.schedule.rate_at, state.step + NUM_STEPS
    fit(state, parts.batches(state.step), parts.step, rate_at, [note], end)
    return [float(loss) for loss in found]


def continued(task: Task) -> None:
    """Check that a training continues from a checkpoint as if it had not stopped, bit for bit."""
    case = {**NETWORKS["lenet5"], "model.dropout": 0.5, "runtime.deterministic": True}
    parts = parts_of(task, case)
    parts.network.train()
    progress = snapshot.Progress.at_start(parts)
    trained(parts, progress.state)

    taken, file = snapshot.take(parts, progress), Path(tempfile.mkdtemp()) / "last.safetensors"
    checkpoint.write(file, taken.tensors, taken.document)
    wanted = trained(parts, progress.state)

    again = parts_of(task, case)
    again.network.train()
    restored = snapshot.restore(checkpoint.read(file), file, again)
    found = trained(again, restored.state)
    task.check("a checkpoint continues bit for bit", found == wanted, found=found, wanted=wanted)


STEPS_PER_EPOCH = 29
"""Of the settings below: 1,800 images that train, in batches of 64."""

WORDS = ("model=lenet5", "dataset=synthetic", "logging.progress=false", "logging.report=false")


def commands(task: Task) -> None:
    """Train, interrupt, resume and evaluate as a user does, in each precision."""
    work = Path(tempfile.mkdtemp())
    few = ("trainer.epochs=2", "dataset.num_train=400")

    for precision in TOLERANCE:
        words = (*few, f"runtime.precision={precision}", f"hydra.run.dir={work / precision}")
        code, _ = cnnlab("train", *WORDS, *words, device_word(task))
        task.check(f"training in {precision} ends with exit code 0", code == 0, exit_code=code)

    for name in ("one", "two"):
        words = ("runtime.deterministic=true", "model.dropout=0.5", f"hydra.run.dir={work / name}")
        cnnlab("train", *WORDS, *few, *words, device_word(task))
    task.check("two deterministic runs agree bit for bit", agree(work / "one", work / "two"))

    interrupted_and_resumed(task, work / "long")
    task.note("trained in each precision, twice alike, interrupted, resumed, evaluated")


def interrupted_and_resumed(task: Task, run: Path) -> None:
    """Stop a training by Ctrl-C after its first save, resume it, evaluate on both devices."""
    words = (*WORDS, "trainer.epochs=100000", "schedule=constant", "saving.every_steps=20")
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "cnnlab",
            "train",
            *words,
            device_word(task),
            f"hydra.run.dir={run}",
        ],
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and not (run / "checkpoints" / "last.safetensors").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    task.check("an interrupted run ends with 130", process.wait() == 130)

    saved = json.loads((run / "run.json").read_text())
    task.check("it says that it was interrupted", saved["status"] == "interrupted")

    more = f"trainer.epochs={saved_steps(run) // STEPS_PER_EPOCH + 2}"
    code, _ = cnnlab("train", f"resume={run}", more, "allow_changes=[trainer.epochs]")
    task.check("the resumed run ends with exit code 0", code == 0, exit_code=code)

    errors = []
    for device in (task.device, "cpu"):
        words = (f"checkpoint={run}", f"runtime.device={device}", "format=json", "output=null")
        code, answer = cnnlab("evaluate", *words, "evaluation=five_crop")
        task.check(f"evaluation on {device} ends with exit code 0", code == 0, exit_code=code)
        errors.append(json.loads(answer)["top1_error"] if code == 0 else None)
    alike = None not in errors and abs(errors[0] - errors[1]) <= 0.003
    task.check("its error is the same on the CPU", alike, errors=errors)


def saved_steps(run: Path) -> int:
    """Return the number of updates before the newest checkpoint of a run."""
    return int(checkpoint.read(run / "checkpoints" / "last.safetensors").document["step"])


def device_word(task: Task) -> str:
    return f"runtime.device={task.device}"


def cnnlab(*words: str) -> tuple[int, str]:
    """Run a command in this process, which spares the start of CUDA; return its code and output."""
    from cnnlab.cli import main

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = main(list(words))
    return code, output.getvalue()


def agree(one: Path, two: Path) -> bool:
    """Return whether the last weights of two runs are the same bytes."""
    files = [run / "checkpoints" / "last.safetensors" for run in (one, two)]
    if not all(file.is_file() for file in files):
        return False
    first, second = (checkpoint.read(file).tensors for file in files)
    return all(torch.equal(first[name], second[name]) for name in first)


LAST = ("two_gpu", "nccl", "triton", "captured", "lean", "compiled")
"""Words in the names of tests that come last, in this order: an error of a device ends all tests
after it, and those that compile take the longest."""


def place_of(test: str) -> int:
    """Return where a test comes among the others: the place of the last word that it has."""
    return max((place for place, word in enumerate(LAST, 1) if word in test.lower()), default=0)


def tests(task: Task) -> None:
    """Run the tests marked gpu, in this process; each is noted when it ends."""
    import pytest

    counts: dict[str, int] = {}

    class Noting:
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            items.sort(key=lambda item: place_of(item.nodeid))

        def pytest_runtest_setup(self, item: Any) -> None:
            if not task.has_time(10, item.nodeid):
                pytest.skip("no time left")

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.outcome != "passed":
                counts[report.outcome] = counts.get(report.outcome, 0) + (report.when != "teardown")
                told = f"FAILED: {report.nodeid}" if report.failed else ""
                task.num_failures += report.failed
                facts = {"test": report.nodeid, "outcome": report.outcome}
                task.note(told, **facts, seconds=round(report.duration, 2))

    words = ["-q", "-m", "gpu or two_gpu", "--tb=short", "-p", "no:cacheprovider"]
    words += ["-o", "filterwarnings=default"]  # other versions than ours warn of other things
    words += ["-o", "addopts=--import-mode=importlib"]  # not strict: plugins may be missing
    words += ["tests/test_runtime.py"] if task.is_rehearsal else []
    code = pytest.main(words, plugins=[Noting()])
    ran = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    task.check("pytest finds and runs tests", ran, exit_code=int(code))
    told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    task.note(f"tests marked gpu: {told or 'none'}")
