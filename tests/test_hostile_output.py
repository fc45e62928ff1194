"""Awkward names through every command and every format: shown as they are, never acted upon."""

import contextlib
import csv
import html
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.command import sweeps
from cnnlab.command.verbs import VERBS
from cnnlab.config import Launch, Outcome
from cnnlab.console import Console
from cnnlab.reports import tabs
from cnnlab.safe_output import FORMULA_MARKS, csv_cell, escape_control
from cnnlab.tensorboard_writer import TensorboardWriter
from tests.hostile_names import FOLDER_NAMES, NAMES, NOT_UTF_8

RUN = "outputs/[run] :dog: =x"
OTHER = "outputs/_$x$ [run"
TRAIN = [
    *("train", "dataset=folder", "dataset.root=set", "dataset.image_size_pixels=8"),
    *("dataset.pad_pixels=0", "model=linear", "augment=none", "trainer.epochs=1"),
    *("trainer.batch_size=28", "runtime.num_threads=1", "logging.images_every_epochs=null"),
    *("logging.progress=true", "dataset.num_validation=28"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a set whose classes have awkward names, and two runs in folders of awkward names."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    for split, number in (("train", 3), ("test", 1)):
        for name in FOLDER_NAMES:
            (folder / "set" / split / name).mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "set" / split / name / f"{i}.png")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(folder)
        assert main([*TRAIN, f"hydra.run.dir={RUN}"]) == 0
    (folder / "said.txt").write_text(said.getvalue())
    shutil.copytree(folder / RUN, folder / OTHER)
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def out_of(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert main(words) == code
    output = capsys.readouterr()
    assert "bug" not in output.err
    assert not set(output.out) & set("\x1b\u202e\t")
    return output.out


def read_page(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\u202e\t\0")
    return html.unescape(text)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_console_shows_every_name_in_lines_tables_and_bars(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "5000")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal  # type: ignore[method-assign]
    console = Console(stream=stream)
    for name in filter(str.strip, NAMES):
        console.line(name)
        console.table([name], [[name], [name]], title=escape_control(name))
        console.start_bar(2, 0, escape_control(name))
        console.advance_bar(1, lambda name=name: escape_control(name))  # type: ignore[misc]
        console.stop_bar()
        shown = stream.getvalue()
        assert shown.count(escape_control(name)) >= (5 if is_terminal else 4), name
        stream.seek(0)
        stream.truncate()


def test_training_shows_and_writes_every_name(here: Path) -> None:
    said = (here / "said.txt").read_text()
    page = read_page(here / RUN / "report.html")

    assert f"run folder  {RUN}\n" in said
    assert f"  cnnlab evaluate 'checkpoint={RUN}'\n" in said
    assert [name for name in FOLDER_NAMES if escape_control(name) not in page] == []
    (events,) = (here / RUN / "tensorboard").glob("events*")
    shown = events.read_bytes()  # text, settings, curves of classes
    assert b"test, each class/" in shown
    assert not [mark for mark in ("\x1b[2J", "\u202e", "\x9b31") if mark.encode() in shown]


def test_evaluation_in_every_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", f"checkpoint={RUN}", "runtime.num_threads=1"]
    out = out_of(words, capsys)
    told = json.loads(out_of([*words, "format=json"], capsys))

    assert f"report: {RUN}/evaluation_test_center.html" in out
    assert told["checkpoints"] == [f"{RUN}/checkpoints/best.safetensors"]
    page = read_page(here / RUN / "evaluation_test_center.html")
    assert [name for name in FOLDER_NAMES if escape_control(name) not in page] == []


def test_an_ensemble_names_its_members(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"checkpoint=['{RUN}','{OTHER}']", "output=both", "runtime.num_threads=1"]
    out = out_of(["evaluate", *words], capsys)

    for run in (RUN, OTHER):
        assert Path(run).name in out
        assert Path(run).name in read_page(here / "both" / "evaluation_test_center.html")


def test_prediction_in_every_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", f"checkpoint={RUN}", "images=[set/test]", "top=50", "runtime.num_threads=1"]
    text = out_of(words, capsys)
    table = list(csv.DictReader(io.StringIO(out_of([*words, "format=csv"], capsys))))
    told = json.loads(out_of([*words, "format=json"], capsys))

    assert [name for name in FOLDER_NAMES if f"\n{escape_control(name)}  " not in text] == []
    assert {row["class"] for row in table} == {csv_cell(name) for name in FOLDER_NAMES}
    assert not any(row["class"].startswith(FORMULA_MARKS) for row in table)
    assert all(float(row["probability"]) >= 0 for row in table)
    for image in told["images"]:
        assert {answer["class"] for answer in image["predictions"]} == set(FOLDER_NAMES)


def test_a_page_of_predictions_shows_every_file_and_leads_nowhere(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "files").mkdir()
    names = [name for name in FOLDER_NAMES if len(name) < 100][::4]
    image = next((here / "set" / "test").rglob("*.png")).read_bytes()
    for name in names:
        (here / "files" / f"{name}.png").write_bytes(image)

    words = ["predict", f"checkpoint={RUN}", "images=[files]", "output=album", "top=3"]
    out = out_of([*words, "runtime.num_threads=1"], capsys)
    assert "all pictures on one page: album/predictions.html" in out
    page = read_page(here / "album" / "predictions.html")
    assert [name for name in names if f"{escape_control(name)}.png" not in page] == []
    assert "<img src=x" not in (here / "album" / "predictions.html").read_text()

    pictures = [path.name for path in (here / "album" / "pictures").iterdir()]
    assert len(pictures) == len(names)
    assert all(re.fullmatch(r"\d{4}_[A-Za-z0-9._-]+\.png", name) for name in pictures)


@pytest.fixture
def forged(here: Path) -> tuple[Path, tuple[str, ...]]:
    """Return a checkpoint of a stranger and its class names, which no folder could have."""
    held = checkpoint.read(here / RUN / "checkpoints" / "last.safetensors")
    names = tuple(name for name in NAMES if name != NOT_UTF_8)[-len(FOLDER_NAMES) :]
    path = here / "forged.safetensors"
    checkpoint.write(path, held.tensors, held.document | {"class_names": list(names)})
    return path, names


def test_classes_of_a_stranger_in_every_format(
    forged: tuple[Path, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, names = forged
    words = [
        "predict",
        f"checkpoint={path}",
        "images=[set/test]",
        "top=50",
        "runtime.num_threads=1",
    ]
    text = out_of(words, capsys)
    table = list(csv.DictReader(io.StringIO(out_of([*words, "format=csv"], capsys))))
    told = json.loads(out_of([*words, "format=json"], capsys))

    assert [name for name in names if escape_control(name) not in text] == []
    assert {row["class"] for row in table} == {csv_cell(name) for name in names}
    for image in told["images"]:
        assert {answer["class"] for answer in image["predictions"]} == set(names)
    out_of(["convert", f"source={path}", "output=plain.safetensors"], capsys)


def test_a_class_whose_name_is_not_unicode_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = checkpoint.read(here / RUN / "checkpoints" / "last.safetensors")
    names = [NOT_UTF_8, *held.document["class_names"][1:]]
    checkpoint.write(
        here / "bytes.safetensors", held.tensors, held.document | {"class_names": names}
    )

    assert main(["predict", "checkpoint=bytes.safetensors", "images=[set/test]"]) == 4
    assert "surrogates not allowed" in capsys.readouterr().err


def test_classes_of_a_stranger_are_no_part_of_a_message(
    forged: tuple[Path, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = forged
    for verb in ("evaluate", "visualize"):
        assert main([verb, f"checkpoint={path}", "runtime.num_threads=1"]) in (3, 4)
        said = capsys.readouterr().err
        assert len(said.splitlines()) <= 3
        assert len(said) < 2_000
        assert said.replace("\n", "").isprintable()


def test_a_sweep_over_any_name_in_its_table_and_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(NAMES):
        swept = {"sweep": "own", "sweep_folder": str(tmp_path), "job": number}
        sweeps.record(Launch(command="", overrides=[name], **swept), Outcome(1))  # type: ignore[arg-type]
    jobs = sweeps.close("own", str(tmp_path))
    assert [job["exit_code"] for job in jobs] == [1] * len(NAMES)

    with open(tmp_path / sweeps.RESULTS, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["overrides"] for row in rows] == [csv_cell(name) for name in NAMES]
    assert not any(row["overrides"].startswith(FORMULA_MARKS) for row in rows)
    said = capsys.readouterr().err
    assert [name for name in NAMES if escape_control(name).rstrip() not in said] == []


def test_settings_and_names_of_figures_in_tensorboard(tmp_path: Path) -> None:
    writer = TensorboardWriter(tmp_path)
    for name in NAMES:
        writer.summaries(0, [tabs.settings({"dataset.root": name})])
    writer.close()

    (file,) = tmp_path.iterdir()
    written = file.read_bytes()
    assert [name for name in NAMES if escape_control(name).encode() not in written] == []
    assert not [
        mark for mark in ("\x1b[2J", "\x1b]8", "\u202e", "\x9b31") if mark.encode() in written
    ]


def test_a_list_and_a_comparison_of_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = out_of(["list", "runs"], capsys)
    told = json.loads(out_of(["list", "runs", "format=json"], capsys))
    words = ["compare", f"runs=['{RUN}','{OTHER}']", "output=compare.html"]
    compared = out_of(words, capsys)

    assert {RUN, OTHER} <= {row["path"] for row in told["runs"]}
    for run in (RUN, OTHER):
        assert run in listed
        assert Path(run).name in compared
        assert Path(run).name in read_page(here / "compare.html")


def test_pictures_and_their_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["visualize", f"checkpoint={RUN}", "what=[predictions,filters]"]
    out = out_of([*words, "output=pictures [x]", "runtime.num_threads=1"], capsys)

    assert "pictures [x]/predictions.png" in out
    read_page(here / "pictures [x]" / "pictures.html")


WORDS = {
    "train": [*TRAIN[1:], "hydra.run.dir=ascii caf\u00e9", "logging.report=false"],
    "evaluate": [f"checkpoint={RUN}"],
    "summary": ["model=lenet5"],
    "visualize": [f"checkpoint={RUN}", "what=[predictions]", "output=\u732b"],
    "predict": [f"checkpoint={RUN}", "images=[set/test]", "top=50"],
    "copy": ["experiment=quickstart", "caf\u00e9.yaml"],
    "compare": [f"runs=['{RUN}','{OTHER}']"],
    "convert": [f"source={RUN}", "output=caf\u00e9.safetensors"],
    "prepare": ["dataset=folder", "dataset.root=set", "output=caf\u00e9 store"],
    "benchmark": [
        *(word for word in TRAIN[1:] if not word.startswith("logging.")),
        "seconds_per_part=0.01",
    ],
    "list": ["runs"],
    "reproduce": ["claims=parameters_in_fc", "output=caf\u00e9 claims"],
}
"""What each command can be asked for in that place."""


@pytest.mark.parametrize("verb", VERBS)
def test_a_terminal_that_lacks_letters_ends_no_command(
    verb: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, errors = (io.TextIOWrapper(io.BytesIO(), "ascii", "strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)

    code = main([verb, *WORDS[verb]])

    out.flush()
    errors.flush()
    said = errors.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert code == 0, said
    assert out.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["\x1b[2Jclear", "it's [1], the $x first", "\u202egpj"])
def test_paths_of_what_is_written_are_shown_and_proposed_quoted(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = out_of(["convert", f"source={RUN}", f"output={name}.safetensors"], capsys)
    assert escape_control(name) in out

    words = ["prepare", "dataset=folder", "dataset.root=set", f"output={name} store"]
    out = out_of([*words, "dataset.image_size_pixels=8"], capsys)
    proposed = out.partition("train on it: ")[2].splitlines()[0]
    assert shlex.split(proposed)[-1] == escape_control(f"dataset.root={name} store")
