"""The command line as users meet it: messages, exit codes, what is imported, what survives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.cli import main

BAD_LINES = [
    (["tarin"], "did you mean 'train'?"),
    (["train", "trainer.epoch=3"], "did you mean 'trainer.epochs'?"),
    (["train", "epochs=3"], "did you mean 'trainer.epochs'?"),
    (["train", "lr=0.1"], "did you mean 'optimizer.learning_rate'?"),
    (["train", "bs=8"], "did you mean 'trainer.batch_size'?"),
    (["train", "optimizer.wd=0"], "did you mean 'optimizer.weight_decay'?"),
    (["train", "modle=alexnet"], "did you mean 'model'?"),
    (["train", "model.dropot=0.1"], "did you mean 'model.dropout'?"),
    (["train", "model=lenet6"], "did you mean 'lenet5'?"),
    (["train", "experiment=quikstart"], "did you mean 'quickstart'?"),
    (["train", "+trainer.foo=1"], "'+' cannot add one"),
    (["train", "++trainer.foo=1"], "'+' cannot add one"),
    (["train", "+trainer.epochs=3"], "write trainer.epochs=3"),
    (["train", "~seed"], "cannot be removed"),
    (["train", "trainer.epochs=abc"], "trainer.epochs must be an integer"),
    (["train", "trainer.epochs=0"], "got 0"),
    (["train", "trainer.epochs=2.5"], "an integer"),
    (["train", "trainer=3"], "trainer must be a mapping"),
    (["train", "model.dropout=1.5"], "below 1, got 1.5"),
    (["train", "model=linear", "model.dropout=0.5"], "model 'linear' has no setting 'dropout'"),
    (["train", "model.name=alexnet"], "write model=alexnet"),
    (["train", "model.recipe.learning_rate=1"], "'model.recipe.learning_rate' is not a setting"),
    (["train", "model=alexnet", "model.geometry=228"], "one of 224_ceil, 227, 224_pad2"),
    (["train", "runtime.precision=fp8"], "one of fp32, tf32, bf16"),
    (["train", "trainer.lr = 3"], "without spaces: trainer.lr=3"),
    (["train", "seed", "=", "3"], "without spaces: seed=3"),
    (["train", "seed=", "3"], "without spaces: seed=3"),
    (["train", "seed", "=3"], "without spaces: seed=3"),
    (["train", "seed=0,1"], "add -m"),
    (["train", "seed"], "not key=value"),
    (["train", "model=[1"], "cannot read 'model=[1'"),
    (["train", "seed=${nowhere}"], "'nowhere' not found"),
    (["train", "dataset=checkpoint"], "is for evaluation"),
    (["train", "dataset.pad_pixels=16"], "leaves no pixels of an image of 32 pixels"),
    (["train", "augment.crop_pixels=40"], "does not fit into 36 pixels"),
    (["train", "trainer.accumulate=65"], "keep trainer.accumulate at most"),
    (["train", "schedule=plateau", "dataset.num_validation=0"], "needs a validation error"),
    (["train", "schedule=cosine", "trainer.epochs=1"], "is not shorter than trainer.epochs=1"),
    (["train", "plugins=[no_such_module_at_all]"], "cannot import 'no_such_module_at_all'"),
    (["train", "--config-name", "other"], "would replace the settings"),
    (["train", "--config-dir", "no/such/folder"], "is not a folder"),
    (["train", "resume=no/such/run"], "no such run folder"),
    (["train", "hydra/launcher=foo"], "no hydra/launcher 'foo'"),
    (["train", "--cfg", "job", "trainer.epochs=0"], "got 0"),
    (["train", "-m", "seed=0,1", "trainer.epochs=3,0"], "got 0"),
    (["train", "-m", "seed=0,x"], "seed must be an integer"),
    (["train", "-m", "model=lenet5,lenet6"], "did you mean 'lenet5'?"),
    (["train", "-m", "model=lenet5,linear", "model.dropout=0.1"], "has no setting 'dropout'"),
    (["evaluate"], "checkpoint is missing"),
    (["evaluate", "checkpoint=x", "split=tset"], "split must be one of"),
    (["list", "planets"], "what must be one of"),
]


@pytest.mark.parametrize(("words", "expected"), BAD_LINES, ids=[" ".join(w) for w, _ in BAD_LINES])
def test_a_bad_line_ends_with_2_and_at_most_three_lines(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str], run_elsewhere: Path
) -> None:
    code = main(words)

    output = capsys.readouterr()
    assert code == 2
    assert expected in output.err
    assert output.err.startswith("cnnlab: ")
    assert len(output.err.splitlines()) <= 3
    assert output.out == ""
    assert not any(run_elsewhere.iterdir())


@pytest.fixture
def run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, where a run would leave its traces."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


WITHOUT_TORCH = (
    "--help",
    "train --help",
    "train lr=0.1",
    "train trainer.epochs=abc",
    "train resume=latest",
    "train --cfg job",
    "list experiments",
    "list runs",
)
LISTEN = """
import contextlib, io, sys
from cnnlab.cli import main
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        main(line.split())
    print("torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def imports_of_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return whether torch is imported after each line, one after another in one new process."""
    done = subprocess.run(
        [sys.executable, "-c", LISTEN, *WITHOUT_TORCH],
        cwd=tmp_path_factory.mktemp("empty"),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(WITHOUT_TORCH, done.stdout.split(), strict=True))


@pytest.mark.parametrize("line", WITHOUT_TORCH)
def test_help_and_errors_never_import_torch(line: str, imports_of_torch: dict[str, str]) -> None:
    assert imports_of_torch[line] == "False"


def test_help_names_every_group_choice_and_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    from cnnlab.command.verbs import VERBS
    from cnnlab.config import choices
    from cnnlab.config.keys import walk

    for name, verb in VERBS.items():
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        unwrapped, groups = " ".join(text.split()), choices.groups(name)
        for key in walk(verb.config_class):
            if not verb.uses(key.name):
                continue  # refused: tests/command/test_keys_read.py
            assert key.name.endswith(".name") or f"  {key.name} " in text
            in_group = key.name.partition(".")[0] in groups
            assert in_group or key.description in unwrapped
        for group in groups:
            assert all(choice in text for choice in choices.choices(group))


def test_help_shows_the_values_of_the_chosen_group(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "model=alexnet", "--help"])

    lines = capsys.readouterr().out.splitlines()
    geometry = next(line for line in lines if line.startswith("  model.geometry "))
    assert '"224_ceil"' in geometry


def test_the_composed_settings_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "trainer.epochs=3", "--cfg", "job"]) == 0

    assert "epochs: 3" in capsys.readouterr().out


def test_overrides_may_stand_behind_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 42\n")

    code = main(["train", "--cfg", "job", "--config-dir", str(tmp_path), "experiment=mine"])

    assert code == 0
    assert "seed: 42" in capsys.readouterr().out


def test_broken_yaml_of_a_user_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: [1\n")

    assert main(["train", "--config-dir", str(tmp_path), "experiment=mine"]) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 3


@pytest.mark.parametrize("words", ["list experiments format=json", "train --help"])
def test_a_reader_that_goes_away_ends_a_command_quietly(words: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as unread:
        command = [sys.executable, "-P", "-m", "cnnlab", *words.split()]
        done = subprocess.run(
            command, cwd=tmp_path, stdout=unread, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_the_scripts_are_the_commands(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[1] / "scripts" / script
    verb = script.removesuffix(".py")
    done = subprocess.run(
        [sys.executable, str(path), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert main([verb, "--help"]) == 0
    assert done.stdout == capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["train", "dataset=mnist"], 3, "mnist"),
        (["train", "dataset=fashion_mnist", "dataset.root=no=where"], 3, "no=where"),
        (["train", "runtime.device=cuda:7"], 6, "cuda:7"),
        (["train", "runtime.device=toaster"], 2, "toaster"),
        (["evaluate", "checkpoint=notes, (1) #a=b.txt"], 4, "notes, (1) #a=b.txt"),
        (["evaluate", "checkpoint=no such file"], 4, "no such file"),
        (["train", "augment=crop_mirror"], 2, "mirror"),
        (["train", "model=alexnet", "dataset.image_size_pixels=48"], 2, "the smallest is 64"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_only_the_task_can_find_out(
    words: list[str],
    code: int,
    expected: str,
    run_elsewhere: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("notes, (1) #a=b.txt").write_text("milk, eggs\n")

    assert main(words) == code

    output = capsys.readouterr()
    assert expected in output.err
    assert len(output.err.splitlines()) <= 3
    assert [path.name for path in run_elsewhere.iterdir()] == ["notes, (1) #a=b.txt"]


LONG = "n" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["train", f"resume={LONG}"],
        ["train", "dataset=folder", f"dataset.root={LONG}"],
        ["train", f"model.weights={LONG}"],
        ["evaluate", f"checkpoint={LONG}"],
        ["predict", "checkpoint=x", f"images={LONG}"],
        ["visualize", f"checkpoint={LONG}"],
        ["compare", f"runs=[{LONG},{LONG}b]"],
        ["convert", f"source={LONG}", "output=x.safetensors"],
        ["prepare", "dataset=store", f"dataset.root={LONG}", "output=x"],
    ],
    ids=lambda words: words[0] + " " + words[-1][:14],
)
def test_a_name_longer_than_any_file_may_have_is_no_bug(
    words: list[str], run_elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_data = any(word.startswith(("images=", "dataset.root=")) for word in words)
    assert main(words) == (3 if of_data else 2)
    said = capsys.readouterr().err
    assert "too long" in said
    assert len(said) < 600  # not the name again and again
    assert not any(run_elsewhere.iterdir())


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cnnlab ")


def test_a_message_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "\x1b[2Jepochs=3"])

    assert "\x1b" not in capsys.readouterr().err
