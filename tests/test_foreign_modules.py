"""The current folder is no library: no module in it is imported, however Python is started."""

import re
import signal
import sys
from pathlib import Path

import pytest

from cnnlab.cli import main
from scripts.torture.foreign import (
    BY_COMMAND,
    BY_MODULE,
    BY_OWN_LINE,
    SPOILED,
    imported,
    plant,
    run,
    start_all,
)
from scripts.torture.streams import COMMANDS
from tests.distributed.launching import ROOT, SETTINGS, finished, torchrun, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder in which modules of famous names lie."""
    plant(tmp_path)
    return tmp_path


def test_the_modules_would_be_noticed(folder: Path) -> None:
    assert run(folder, sys.executable, "-c", "import random").returncode == 77
    assert imported(folder) == ["random"]


@pytest.mark.parametrize(
    "words",
    [
        [*BY_COMMAND, "list", "experiments"],
        pytest.param([*BY_OWN_LINE, "list", "experiments"], marks=pytest.mark.slow),
        [*BY_MODULE, "list", "experiments"],
        *(
            pytest.param([sys.executable, str(script), "--help"], marks=pytest.mark.slow)
            for script in (ROOT / "scripts" / "train.py", ROOT / "scripts" / "evaluate.py")
        ),
    ],
    ids=["cnnlab", "-P -m", "-m", "train.py", "evaluate.py"],
)
def test_a_command_imports_nothing_from_the_current_folder(words: list[str], folder: Path) -> None:
    if tuple(words[:3]) == BY_MODULE:
        (folder / "cnnlab.py").unlink()
    done = run(folder, *words)

    assert done.returncode == 0, done.stderr
    assert imported(folder) == []


@pytest.mark.slow
def test_no_command_and_no_way_to_start_one_imports_anything(tmp_path: Path) -> None:
    """By the command, by `python -m`, by torchrun, and in the processes that an ensemble starts."""
    assert start_all(tmp_path, list(COMMANDS))["problems"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_what_torchrun_forwards_saves(number: int, tmp_path: Path) -> None:
    words = ["-m", "cnnlab", *SETTINGS, "hydra.run.dir=run", "trainer.epochs=100000"]
    process = torchrun(*words, folder=tmp_path)
    wait_for(tmp_path / "run" / "checkpoints" / "last.safetensors", process)
    process.send_signal(number)
    _, errors = finished(process)

    assert "everything is saved" in errors
    assert '"interrupted"' in (tmp_path / "run" / "run.json").read_text()


PLUGIN = """
import random, my_layers
from cnnlab.config import MODELS
assert random.random() < 1 and my_layers.HERE
import tomllib  # of the library, though one lies here
assert tomllib.loads
"""


@pytest.mark.parametrize(
    "way",
    [pytest.param(BY_COMMAND, marks=pytest.mark.slow), BY_MODULE],
    ids=["cnnlab", "-m"],
)
def test_a_plugin_of_the_current_folder_is_imported_and_nothing_else(
    way: list[str], folder: Path
) -> None:
    (folder / "cnnlab.py").unlink()
    (folder / "my_models.py").write_text(PLUGIN)
    (folder / "my_layers.py").write_text("HERE = True\n")
    (folder / "tomllib.py").write_text(SPOILED)
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").touch()
    (folder / "my_package" / "models.py").write_text("open('found.txt', 'w').close()\n")
    (folder / "this.py").write_text("open('ours.txt', 'w').close()\n")  # not Python's own

    names = "my_models,my_package.models,this"
    done = run(folder, *way, "summary", f"plugins=[{names}]", "model=linear", "--cfg", "job")

    assert done.returncode == 0, done.stderr
    assert (folder / "found.txt").exists()
    assert (folder / "ours.txt").exists()
    assert imported(folder) == []


CALLBACK = "hydra: {callbacks: {x: {_target_: builtins.open, file: imported.txt, mode: w}}}\n"
LAUNCHER = """\
defaults: [/experiment/x@_global_]
_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher
"""


def test_settings_of_hydra_in_the_current_folder_name_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its choices are searched last, and Hydra's own launcher lies behind even those."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "basic.yaml").write_text(LAUNCHER)
    assert main(["list", "models"]) == 0  # without choices the folder is not searched
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "x.yaml").write_text(CALLBACK)

    for words in (["list", "models"], ["train", "--help"], ["list", "-m", "what=models"]):
        assert main(words) == 2
        assert "settings of Hydra, which may name code" in capsys.readouterr().err
    assert not (tmp_path / "imported.txt").exists()


@pytest.mark.slow
def test_an_entry_point_that_lies_in_the_current_folder_is_not_read(folder: Path) -> None:
    (folder / "evil-1.dist-info").mkdir()
    (folder / "evil-1.dist-info" / "METADATA").write_text("Name: evil\nVersion: 1\n")
    (folder / "evil-1.dist-info" / "entry_points.txt").write_text("[cnnlab.plugins]\ne = evil\n")
    (folder / "evil.py").write_text("open('found.txt', 'w').close()\n")
    (folder / "mine.py").touch()

    done = run(folder, *BY_COMMAND, "list", "models", "plugins=[./mine.py]")

    assert done.returncode == 0, done.stderr
    assert not (folder / "found.txt").exists()


IN_CODE = re.compile(r"""sys\.executable,\s*["']-m["']""")
IN_A_SHELL = re.compile(r"(?:python\S*|PYTHON\"?|torchrun.*) -m cnnlab")


def test_no_line_of_ours_searches_the_current_folder_first() -> None:
    """In the source, the scripts, and the commands that the pages show."""
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/**/*.py")]:
        is_the_trial = path.name == "foreign.py"
        assert is_the_trial or not IN_CODE.search(path.read_text()), path

    for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*.sh")]:
        commands = [line for line in path.read_text().splitlines() if not line.startswith("|")]
        assert not IN_A_SHELL.findall("\n".join(commands)), path
