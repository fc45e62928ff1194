"""`cnnlab list`: whole sentences, wrapped at a terminal, and how to use what is listed."""

import json
from pathlib import Path

import pytest

from cnnlab.app import list as verb
from cnnlab.cli import main
from cnnlab.command import composing, line
from cnnlab.config import DATASETS


@pytest.mark.parametrize("what", ["models", "experiments"])
def test_what_is_said_of_a_choice_is_whole_sentences(what: str) -> None:
    rows = verb.TABLES[what]()
    assert rows
    assert [row["about"] for row in rows if not row["about"].endswith(".")] == []


@pytest.mark.parametrize("width", [80, 200])
def test_lines_are_wrapped_at_a_terminal_and_lose_no_word(width: int) -> None:
    rows = verb.experiments()
    wrapped, whole = verb._lines(rows, width), verb._lines(rows, None)
    assert max(map(len, wrapped)) <= width
    assert " ".join(wrapped).split() == " ".join(whole).split()


def test_a_wrapped_line_goes_on_below_its_beginning() -> None:
    rows = [{"name": "a", "about": "one two three four five six seven eight nine ten eleven."}]
    assert verb._lines(rows, 40) == [
        "a  one two three four five six seven",
        "   eight nine ten eleven.",
    ]


def test_each_data_set_names_the_words_that_choose_it() -> None:
    assert verb.words_to_use("imagenet", is_here=False) == "dataset=imagenet dataset.root=FOLDER"
    assert verb.words_to_use("synthetic", is_here=True) == "dataset=synthetic"
    assert verb.words_to_use("cifar10", is_here=False) == (
        "dataset=cifar10 dataset.root=FOLDER, and dataset.download=true to fetch them into it"
    )
    for name in DATASETS:
        words = verb.words_to_use(name, is_here=False).partition(",")[0].split()
        assert composing.check(line.read("train", words))[0].config.dataset.name == name


def test_the_path_of_a_run_is_never_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever lists runs copies a path."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / ("a" * 90) / "b"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 0\n")
    (run / "run.json").write_text(json.dumps({"status": "done", "started": "2026-01-01T00:00:00"}))
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    assert main(["list", "runs"]) == 0
    assert f"outputs/{'a' * 90}/b" in capsys.readouterr().out
