"""`cnnlab copy`: one's own copy of a choice, found by its name from the current folder."""

from pathlib import Path

import pytest
import yaml

from cnnlab.cli import main
from cnnlab.config import choices

COPY = ["copy", "experiment=quickstart", "mine.yaml"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def composed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    """Return what `cnnlab train --cfg job` prints with these words."""
    assert main(["train", *words, "--cfg", "job"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_copy_is_chosen_by_its_name_and_may_be_edited(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(COPY) == 0
    printed = capsys.readouterr().out.splitlines()
    copy = Path("experiment/mine.yaml")
    assert printed == [f"wrote {copy}", "edit it, then: cnnlab train experiment=mine"]
    assert copy.read_text().startswith("# @package _global_\n# A copy of experiment=quickstart")
    assert "measured" not in copy.read_text()

    original = composed(capsys, "experiment=quickstart")
    assert composed(capsys, "experiment=mine") == original
    copy.write_text(copy.read_text() + "\nseed: 77\n")
    assert composed(capsys, "experiment=mine") == {**original, "seed": 77}


def test_copies_are_in_the_help_and_among_what_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["copy", "model=linear", "straight.yaml"]) == 0
    capsys.readouterr()
    assert main(["train", "model=straight", "--help"]) == 0
    assert "  model       straight | alexnet" in capsys.readouterr().out
    assert main(["train", "model=strait"]) == 2
    assert "straight" in capsys.readouterr().err


def test_every_choice_can_be_copied_and_is_composed_as_the_original(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for group in choices.groups("train"):
        name = choices.choices(group)[-1]
        assert main(["copy", f"{group}={name}", "own"]) == 0
        text = Path(group, "own.yaml").read_text()
        source = (choices.configs_folder() / group / f"{name}.yaml").read_text()
        assert yaml.safe_load(text) == yaml.safe_load(source)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "copy needs the choice to copy, as GROUP=NAME"),
        (["experiment=quickstart"], 2, "copy needs a name for the copy"),
        (["experiment=fast", "mine.yaml"], 2, "no experiment 'fast'"),
        (["trainer=fast", "mine.yaml"], 2, "'trainer' is no group of choices"),
        (["experiment=quickstart", "debug.yaml"], 2, "experiment=debug is built in"),
        (["experiment=quickstart", "there/mine.yaml"], 2, "output=experiment/mine.yaml"),
        (["experiment=quickstart", "a,b.yaml"], 2, "cannot be typed as a choice"),
        (["experiment=quickstart", "taken.yaml"], 8, "the file exists already"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_not_be_found_or_would_overwrite_is_refused(
    words: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("experiment").mkdir()
    Path("experiment/taken.yaml").write_text("seed: 1\n")
    assert main(["copy", *words]) == code
    assert complaint in capsys.readouterr().err
    assert [path.name for path in Path().rglob("*.yaml")] == ["taken.yaml"]
    assert Path("experiment/taken.yaml").read_text() == "seed: 1\n"


def test_a_copy_elsewhere_is_found_with_config_dir(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", "experiment=quickstart", "elsewhere/experiment/mine.yaml"]) == 0
    assert "cnnlab train experiment=mine --config-dir=elsewhere" in capsys.readouterr().out
    assert composed(capsys, "experiment=mine", "--config-dir=elsewhere")["seed"] == 0


def test_no_file_here_stands_in_for_a_choice_of_ours_or_for_a_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    original = composed(capsys, "model=linear")
    Path("model").mkdir()
    Path("model/linear.yaml").write_text("name: mlp\n")
    Path("yaml.py").write_text("raise SystemExit(99)\n")
    assert composed(capsys, "model=linear") == original
