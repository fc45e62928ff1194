"""Whole runs, stopped and continued: no step lost, none repeated, every refusal said in words."""

import errno
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.files import regular
from cnnlab.run_folder import RunFolder
from cnnlab.trainer import trainer as training_run
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.reporter import Reporter
from cnnlab.training.loop import StepReport, TrainState
from scripts.torture import runs
from scripts.torture.command import Outcome, call, differences, trace
from tests.data.pictures import write_train_and_test

SETTINGS = (*runs.SHORT, *runs.STEPS_24)
TOTAL_STEPS = 24


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 steps that nothing stopped, each step saved."""
    folder = tmp_path_factory.mktemp("base") / "whole"
    outcome = call(*SETTINGS, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.errors
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> RunFolder:
    """A copy of that run, as if it had been stopped behind step 12."""
    shutil.copytree(whole, tmp_path / "run")
    copied = RunFolder(tmp_path / "run")
    for step in range(13, TOTAL_STEPS + 1):
        copied.checkpoint_file(step).unlink()
    for name in ("best", "last"):
        (copied.checkpoints / f"{name}.safetensors").unlink()
    copied.mark(8, "best")
    copied.mark(12, "last")
    copied.update_status(status="interrupted")
    return copied


def resume(where: object, *words: str) -> Outcome:
    return call("train", f"resume={where}", *words)


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Send this process a real signal while it computes the update that makes it step `step`."""
    advance = Reporter.advance

    def signalling(self: Reporter, state: TrainState, report: StepReport) -> None:
        if state.step == step:
            os.kill(os.getpid(), number)
        advance(self, state, report)

    monkeypatch.setattr(Reporter, "advance", signalling)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_resumed_from_any_step_a_run_is_the_run_that_was_never_stopped(whole: Path) -> None:
    found = runs.resume_from_each_step(whole.parent, call, [1, 12])
    assert found["identical"] == 2, found


@pytest.mark.slow
def test_resumed_from_each_of_23_steps_a_run_is_the_same(tmp_path: Path) -> None:
    found = runs.resume_from_each_step(tmp_path, call, list(range(1, TOTAL_STEPS)))
    assert found["identical"] == 23, found


def test_a_request_to_stop_saves_the_step_and_the_run_goes_on_identically(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    words = [*SETTINGS, "saving.every_steps=null", f"hydra.run.dir={folder}"]
    stops = [(signal.SIGTERM, 143, 5), (signal.SIGHUP, 129, 6)]
    stops += [(signal.SIGUSR1, 143, 8), (signal.SIGINT, 130, 23)]
    for number, code, step in stops:
        with monkeypatch.context() as patched:
            stop_at(step, patched, number)
            stopped = call(*words)
        assert stopped.code == code
        assert f"resume={folder}" in stopped.errors
        assert RunFolder(folder).status()["status"] == "interrupted"
        assert RunFolder(folder).checkpoint_file(step).is_file()
        words = ["train", f"resume={folder}"]
    assert resume(folder, "saving.every_steps=1").code == 0
    assert trace(folder) == trace(whole)
    assert not [text for text in differences(whole, folder) if "tensors" in text]


def test_validations_cut_short_are_made_up_for_and_a_stop_while_testing_loses_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the first validation, in the last one behind the last step, and in the test."""
    folder, evaluate = tmp_path / "run", Assembly.evaluate
    words = [*SETTINGS, f"hydra.run.dir={folder}"]
    judged = stopped_at = 0

    def signalling(self: Assembly, *arguments: object, **options: object) -> object:
        nonlocal judged
        judged += 1
        if judged == stopped_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Assembly, "evaluate", signalling)
        for number, step, is_due in ((1, 8, True), (3, 24, True), (2, 24, False)):
            judged, stopped_at = 0, number  # what was cut short is judged again first
            assert call(*words).code == 143
            saved = checkpoint.read(RunFolder(folder).checkpoints / "last.safetensors").document
            assert (saved["step"], saved["validation_due"]) == (step, is_due)
            words = ["train", f"resume={folder}"]
    assert resume(folder).code == 0
    assert differences(whole, folder) == []
    assert RunFolder(folder).status()["test_error"] == RunFolder(whole).status()["test_error"]


def test_an_early_stop_stays_one_when_the_run_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = training_run.Trainer._test
    short = ["trainer.limit_train_batches=2", "saving.every_steps=null", "trainer.epochs=5"]
    words = [*SETTINGS, *short, "trainer.early_stop_epochs=1", "optimizer.learning_rate=1e-12"]
    folder = tmp_path / "run"

    def signalling(self: training_run.Trainer) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        test(self)

    with monkeypatch.context() as patched:
        patched.setattr(training_run.Trainer, "_test", signalling)
        assert call(*words, f"hydra.run.dir={folder}").code == 143
    assert RunFolder(folder).checkpoint_file(4).is_file()  # best at 2, one epoch of patience
    assert resume(folder).code == 0
    assert "no better validation error" in RunFolder(folder).status()["stop_reason"]
    assert max(line["step"] for line in trace(folder)) == 4
    assert resume(folder, "trainer.epochs=6", "trainer.early_stop_epochs=1").code == 0
    assert max(line["step"] for line in trace(folder)) > 4


def test_after_three_stops_each_step_is_logged_once_and_the_curves_do_not_overlap(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, words = tmp_path / "run", [*SETTINGS, "logging.tensorboard=true"]
    words.append(f"hydra.run.dir={folder}")
    for step in (5, 11, 19):
        with monkeypatch.context() as patched:
            stop_at(step + 1, patched)
            assert call(*words).code == 143
        newest = RunFolder(folder).checkpoint_file(step + 1)
        newest.write_bytes(b"")  # so that the last logged step is done a second time
        words = ["train", f"resume={folder}"]
    assert call(*words).code == 0
    steps = [line["step"] for line in trace(folder) if "train/batch_loss" in line]
    assert steps == list(range(1, TOTAL_STEPS + 1))
    assert trace(folder) == trace(whole)
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    shown = [event.step for event in events.Scalars("train/batch_loss")]
    assert shown == list(range(1, TOTAL_STEPS + 1))


def test_a_finished_run_says_so_and_no_file_changes(whole: Path) -> None:
    before = digests(whole)
    outcome = resume(whole)
    assert outcome.code == 0
    assert "complete" in outcome.output
    assert digests(whole) == before


def test_a_finished_run_goes_on_when_more_epochs_are_asked_for(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    outcome = resume(folder, "trainer.epochs=4")
    assert outcome.code == 0, outcome.errors
    assert "changed: trainer.epochs 3 -> 4" in outcome.output
    assert [line["step"] for line in trace(folder) if "epoch" in line] == [8, 16, 24, 32]
    assert RunFolder(folder).read_config()["trainer"]["epochs"] == 4
    assert "complete" in resume(folder).output


def test_a_run_killed_before_its_first_save_starts_at_step_0_in_its_folder(
    whole: Path, run: RunFolder
) -> None:
    shutil.rmtree(run.checkpoints)
    assert resume(run.path).code == 0
    assert differences(whole, run.path) == []


def test_a_damaged_newest_checkpoint_is_passed_over_loudly(whole: Path, run: RunFolder) -> None:
    newest = run.checkpoint_file(12)
    newest.write_bytes(newest.read_bytes()[:-1])
    outcome = resume(run.path)
    assert outcome.code == 0, outcome.errors
    assert f"skipping {newest}" in outcome.output
    assert "after step 11" in outcome.output
    assert differences(whole, run.path) == []


def test_a_damaged_checkpoint_asked_for_by_name_is_refused(run: RunFolder) -> None:
    newest = run.checkpoint_file(12)
    newest.write_bytes(newest.read_bytes()[:-1])
    outcome = resume(newest)
    assert outcome.code == 4
    assert outcome.is_clean
    assert str(newest) in outcome.errors


def test_going_back_to_an_older_checkpoint_keeps_the_later_ones_aside(
    whole: Path, run: RunFolder
) -> None:
    assert resume(run.checkpoint_file(6)).code == 0
    assert differences(whole, run.path) == []
    aside = {path.name for path in (run.checkpoints / "abandoned_1").iterdir()}
    assert {"step_00000007.safetensors", "step_00000012.safetensors"} <= aside


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("optimizer.learning_rate=0.02", "optimizer.learning_rate 0.1 -> 0.02"),
        ("trainer.batch_size=32", "trainer.batch_size 16 -> 32"),
        ("trainer.epochs=2", "trainer.epochs 3 -> 2"),
        ("seed=1", "seed 0 -> 1"),
    ],
)
def test_a_setting_that_changes_the_result_must_be_named_twice(
    run: RunFolder, change: str, shown: str
) -> None:
    before = digests(run.checkpoints)
    outcome = resume(run.path, change)
    assert outcome.code == 2
    assert outcome.is_clean
    assert shown in outcome.errors
    key = change.partition("=")[0]
    assert f"allow_changes=[{key}]" in outcome.errors
    assert digests(run.checkpoints) == before
    if key != "trainer.epochs":
        assert resume(run.path, change, f"allow_changes=[{key}]").code == 0
        assert shown in str(run.status()["resumed"][-1]["changes"])


def test_safe_settings_may_change_and_the_result_stays_the_same(
    whole: Path, run: RunFolder
) -> None:
    outcome = resume(run.path, "saving.keep=900", "logging.images_every_epochs=1")
    assert outcome.code == 0, outcome.errors
    assert "changed: saving.keep 1000 -> 900" in outcome.output
    assert not [text for text in differences(whole, run.path) if "documents" not in text]


def test_another_model_is_another_run(run: RunFolder) -> None:
    for words in (["model.activation=tanh"], ["model.activation=tanh", "allow_changes=[model]"]):
        outcome = resume(run.path, *words)
        assert outcome.code == 2
        assert outcome.is_clean
        assert "model.activation relu -> tanh" in outcome.errors


def rewrite(run: RunFolder, step: int, **changes: object) -> None:
    held = checkpoint.read(run.checkpoint_file(step))
    checkpoint.write(run.checkpoint_file(step), held.tensors, held.document | changes)


def test_other_images_are_refused_unless_meant(run: RunFolder) -> None:
    rewrite(run, 12, data_digest="f" * 64)
    outcome = resume(run.path)
    assert outcome.code == 2
    assert "images differ" in outcome.errors
    assert resume(run.path, "allow_changes=[data_digest]").code == 0


def test_another_version_torch_or_thread_count_is_said_once_each(run: RunFolder) -> None:
    old = {"cnnlab": "0.0", "torch": "2.3.4", "num_threads": 64, "device": "cpu"}
    rewrite(run, 12, environment=old)
    outcome = resume(run.path)
    assert outcome.code == 0, outcome.errors
    warnings = [line for line in outcome.output.splitlines() if line.startswith("warning:")]
    assert len([line for line in warnings if "bit-identically" in line]) == 3


def test_a_checkpoint_that_no_training_wrote_is_refused(run: RunFolder) -> None:
    checkpoint.write(run.checkpoint_file(12), {"model.w": torch.ones(2)}, {"step": 12})
    outcome = resume(run.checkpoint_file(12))
    assert outcome.code == 4
    assert outcome.is_clean


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("model.c1.weight", torch.ones(6, 1, 3, 3)),
        ("model.c1.weight", torch.ones(6, 1, 5, 5, dtype=torch.float64)),
        ("model.extra", torch.ones(1)),
        ("optimizer.c1.weight.momentum_buffer", torch.ones(2)),
    ],
)
def test_tensors_that_do_not_fit_are_listed(
    run: RunFolder, name: str, tensor: torch.Tensor
) -> None:
    held = checkpoint.read(run.checkpoint_file(12))
    checkpoint.write(run.checkpoint_file(12), held.tensors | {name: tensor}, held.document)
    outcome = resume(run.checkpoint_file(12))
    assert outcome.code == 4, outcome.errors
    assert outcome.is_clean
    assert "c1.weight" in outcome.errors or "extra" in outcome.errors


def test_a_missing_tensor_is_named(run: RunFolder) -> None:
    held = checkpoint.read(run.checkpoint_file(12))
    held.tensors.pop("model.f6.bias")
    checkpoint.write(run.checkpoint_file(12), held.tensors, held.document)
    outcome = resume(run.checkpoint_file(12))
    assert outcome.code == 4
    assert "f6.bias is missing" in outcome.errors


def test_two_writers_of_one_run_are_one_too_many(run: RunFolder) -> None:
    run.lock()
    outcome = resume(run.path)
    run.release()
    assert outcome.code == 8
    assert outcome.is_clean
    assert f"process {os.getpid()} on " in outcome.errors


def test_an_explosion_ends_with_step_loss_rate_and_the_last_good_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*SETTINGS, "optimizer.learning_rate=1e20", "trainer.clip_gradient_norm=null"]
    outcome = call(*words, f"hydra.run.dir={folder}")
    assert outcome.code == 5, outcome.errors
    assert outcome.is_clean
    for word in ("step", "loss", "learning rate 1e+20", "checkpoint", "optimizer.learning_rate"):
        assert word in outcome.errors
    assert RunFolder(folder).status()["status"] == "failed"
    for path in (folder / "checkpoints").iterdir():
        checkpoint.read(path)  # reads refuse what is not finite


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate"),
    ],
)
def test_memory_that_runs_out_names_the_batch_and_the_key_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def backward(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.autograd, "grad", backward)
    monkeypatch.setattr(torch.autograd, "backward", backward)
    outcome = call(*SETTINGS, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 6, outcome.errors
    assert outcome.is_clean
    assert "trainer.batch_size=16" in outcome.errors
    assert "trainer.accumulate=4" in outcome.errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EMFILE, "Too many open files", "a.jpg"),
            ["too many open files", "ulimit -n", "a.jpg"],
        ),
        (MemoryError(), ["out of memory", "trainer.batch_size=4"]),
    ],
)
def test_a_decode_thread_that_dies_ends_the_run_with_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: list[str]
) -> None:
    read, reading = os.open, threading.Event()

    def failing(path: object, *arguments: object, **options: object) -> int:
        if threading.current_thread().name.startswith("decode"):
            reading.set()
            raise error
        return read(path, *arguments, **options)  # type: ignore[arg-type, call-overload]

    pictures = write_train_and_test(tmp_path / "pictures")
    settings = ["dataset=folder", f"dataset.root={pictures}", "dataset.image_size_pixels=32"]
    settings += ["dataset.num_decode_threads=2", "dataset.num_validation=8", "model=lenet5"]
    settings += ["dataset.residency=mapped", "logging.progress=false", "trainer.batch_size=4"]
    monkeypatch.setattr(os, "open", failing)
    outcome = call("train", *settings, "runtime.device=cpu", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 6, outcome.errors
    assert reading.is_set()
    assert outcome.is_clean
    assert all(word in outcome.errors for word in words), outcome.errors
    assert not [t.name for t in threading.enumerate() if t.name == "prefetch"]


def test_a_checkpoint_folder_deleted_during_the_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, advance = tmp_path / "run", Reporter.advance

    def deleting(self: Reporter, state: TrainState, report: StepReport) -> None:
        if state.step == 4:
            shutil.rmtree(folder / "checkpoints")
        advance(self, state, report)

    monkeypatch.setattr(Reporter, "advance", deleting)
    outcome = call(*SETTINGS, f"hydra.run.dir={folder}")
    assert outcome.code == 6, outcome.errors
    assert outcome.is_clean
    assert str(folder / "checkpoints") in outcome.errors


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv", "train.log"])
def test_a_log_that_cannot_be_written_costs_a_warning_not_the_run(
    whole: Path, run: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = regular.append

    def on_a_full_disk(path: Path) -> IO[str]:
        return open("/dev/full", "a", buffering=1) if path.name == name else append(path)

    monkeypatch.setattr(regular, "append", on_a_full_disk)
    outcome = resume(run.path)
    assert outcome.code == 0, outcome.errors
    said = (outcome.output + outcome.errors).count("No space left")
    assert said == (0 if name == "train.log" else 1)
    one, two = (RunFolder(f).checkpoints / "last.safetensors" for f in (whole, run.path))
    assert json.dumps(checkpoint.read(one).document["best"]) == json.dumps(
        checkpoint.read(two).document["best"]
    )
