"""Metric files: what they hold after a resume, and what happens when a disk is full."""

import csv
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnnlab import tensorboard_writer
from cnnlab.reports import tabs
from cnnlab.tensorboard_writer import TensorboardWriter
from cnnlab.writers import CsvWriter, JsonlWriter, Writers


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_resumed_jsonl_has_every_step_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = JsonlWriter(path)
    for step in (10, 20, 30):
        first.scalars(step, {"train/loss": 1.0})
    first.close()

    resumed = JsonlWriter(path, from_step=20)
    resumed.scalars(30, {"train/loss": 2.0})
    resumed.close()

    assert steps_in(path) == [10, 20, 30]
    assert json.loads(path.read_text().splitlines()[-1])["train/loss"] == 2.0


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a/b": 1.0}\n{"step": 2, "a/')
    JsonlWriter(path, from_step=5).close()
    assert steps_in(path) == [1]


def test_csv_keeps_its_columns_over_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = CsvWriter(path)
    first.scalars(5, {"epoch": 1.0, "train/loss": 0.5})
    first.scalars(7, {"train/batch_loss": 0.4})  # no epoch: not for the table
    first.scalars(10, {"epoch": 2.0, "train/loss": 0.3})
    first.close()

    resumed = CsvWriter(path, from_step=5)
    resumed.scalars(10, {"train/loss": 0.25, "epoch": 2.0})
    resumed.close()

    with open(path, newline="") as file:
        assert list(csv.reader(file)) == [
            ["step", "epoch", "train/loss"],
            ["5", "1.0", "0.5"],
            ["10", "2.0", "0.25"],
        ]


def test_tensorboard_shows_scalars_pictures_and_hparams_of_one_run(tmp_path: Path) -> None:
    writer = TensorboardWriter(tmp_path)
    writer.scalars(1, {"train/loss": 0.5, "epoch": 1.0})
    writer.images(1, "input/batch", torch.zeros(1, 4, 4, dtype=torch.uint8))
    writer.summaries(1, [tabs.settings({"seed": 0, "model.name": "lenet5", "augment": None})])
    writer.close()

    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    events.Reload()
    assert [scalar.value for scalar in events.Scalars("train/loss")] == [0.5]
    assert events.Tags()["images"] == ["input/batch"]
    assert "hparams" in str(events.summary_metadata)
    assert [path.parent for path in tmp_path.rglob("*tfevents*")] == [tmp_path]  # no stray run


class Full:
    def __init__(self) -> None:
        self.calls = 0

    def scalars(self, step: int, values: Any) -> None:
        self.calls += 1
        raise OSError(28, "No space left on device")


def test_a_full_disk_drops_the_writer_once_and_training_continues(tmp_path: Path) -> None:
    warnings: list[str] = []
    full = Full()
    path = tmp_path / "metrics.jsonl"
    writers = Writers([lambda: full, lambda: JsonlWriter(path)], warnings.append)
    writers.scalars(1, {"a/b": 1.0})
    writers.scalars(2, {"a/b": 1.0})
    writers.close()
    assert full.calls == 1
    assert len(warnings) == 1
    assert "No space left" in warnings[0]
    assert steps_in(path) == [1, 2]


@pytest.mark.parametrize("full_from", [0, 1])
def test_a_full_disk_under_tensorboard_is_one_warning_and_no_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    full_from: int,
) -> None:
    """From its first event on, and later."""
    warnings: list[str] = []
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - the writer closes it
    if full_from == 0:
        monkeypatch.setattr(tensorboard_writer, "_new_file", lambda folder, name: full)
    before = threading.active_count()
    writers = Writers([lambda: TensorboardWriter(tmp_path)], warnings.append)
    if full_from == 1:
        writers.scalars(1, {"a/b": 1.0})
        inside = writers._writers[0]
        inside._file.close()
        inside._file = inside._records._writer = full
    for step in range(2, 5):
        writers.scalars(step, {"a/b": 1.0})
    writers.summaries(5, [tabs.settings({"seed": 0})])
    assert not writers.take_summaries
    writers.close()

    assert len(warnings) == 1
    assert "No space left" in warnings[0]
    assert "training continues" in warnings[0]
    assert capsys.readouterr().err == ""
    assert threading.active_count() == before


def test_each_figure_is_on_disk_when_it_was_written(tmp_path: Path) -> None:
    """A process that is killed has lost nothing of its curves."""
    writer = TensorboardWriter(tmp_path)
    writer.scalars(7, {"a/b": 2.0, "epoch": 1.0})
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("a/b")] == [(7, 2.0)]
    writer.close()


def test_a_log_that_cannot_be_opened_is_named_and_left_out(tmp_path: Path) -> None:
    warnings: list[str] = []
    missing = tmp_path / "no such folder" / "metrics.jsonl"
    Writers([lambda: JsonlWriter(missing)], warnings.append).scalars(1, {"a/b": 1.0})
    assert len(warnings) == 1
    assert "no such folder" in warnings[0]


@pytest.mark.parametrize("line", ["", "not json\n", '{"step": "x"}\n', "[1]\n"])
def test_foreign_lines_do_not_survive_a_resume(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line)
    JsonlWriter(path, from_step=3).close()
    assert path.read_text() == ""


def test_pictures_are_drawn_only_where_a_writer_keeps_them(tmp_path: Path) -> None:
    tables: list[Any] = [
        lambda: JsonlWriter(tmp_path / "metrics.jsonl"),
        lambda: CsvWriter(tmp_path / "metrics.csv"),
    ]
    of_metrics = Writers(tables, print)
    with_pictures = Writers([*tables, lambda: TensorboardWriter(tmp_path / "events")], print)
    found = of_metrics.take_images, with_pictures.take_images

    for writers in (of_metrics, with_pictures):
        writers.close()
    assert found == (False, True)
