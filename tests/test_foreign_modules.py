"""The current folder is no library: no module in it is imported, however Python is started."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.command.verbs import VERBS
from tests.distributed.launching import ROOT, SETTINGS, finished, torchrun, wait_for

SCRIPTS = Path(sys.executable).parent
COMMAND = str(SCRIPTS / "cnnlab")
FOREIGN = ("random", "torch", "yaml", "cnnlab", "hydra", "numpy", "logging", "rich", "PIL")
SPOILED = "open('imported.txt', 'a').write(__name__ + '\\n')\nraise SystemExit(77)\n"
SHORT = [
    *("experiment=debug", "trainer.epochs=1", "logging.report=false", "logging.tensorboard=false"),
    "runtime.num_threads=1",
]

BY_COMMAND = [COMMAND]
BY_MODULE = [sys.executable, "-P", "-m", "cnnlab"]
BY_PLAIN_MODULE = [sys.executable, "-m", "cnnlab"]
"""Here Python itself looks for `cnnlab` in the current folder first: any other name is safe."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder in which modules of famous names lie."""
    for name in FOREIGN:
        (tmp_path / f"{name}.py").write_text(SPOILED)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder, without the variables of the process that tests."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def assert_untouched(folder: Path) -> None:
    assert not (folder / "imported.txt").exists(), (folder / "imported.txt").read_text()


def test_the_modules_would_be_noticed(folder: Path) -> None:
    assert run(folder, sys.executable, "-c", "import random").returncode == 77
    assert (folder / "imported.txt").read_text() == "random\n"


@pytest.mark.parametrize(
    "words",
    [
        [*BY_COMMAND, "list", "experiments"],
        pytest.param([*BY_MODULE, "list", "experiments"], marks=pytest.mark.slow),
        [*BY_PLAIN_MODULE, "list", "experiments"],
        [sys.executable, str(ROOT / "scripts" / "train.py"), "--help"],
        pytest.param(
            [sys.executable, str(ROOT / "scripts" / "evaluate.py"), "--help"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["cnnlab", "-P -m", "-m", "train.py", "evaluate.py"],
)
def test_a_command_imports_nothing_from_the_current_folder(words: list[str], folder: Path) -> None:
    if words[:3] == BY_PLAIN_MODULE:
        (folder / "cnnlab.py").unlink()
    done = run(folder, *words)

    assert done.returncode == 0, done.stderr
    assert_untouched(folder)


WORDS = {
    "train": [*SHORT, "hydra.run.dir=run"],
    "evaluate": ["checkpoint=run"],
    "summary": ["model=lenet5"],
    "visualize": ["checkpoint=run", "what=[filters]"],
    "predict": ["checkpoint=run", "images=[picture.png]"],
    "compare": ["runs=[run,pair]"],
    "convert": ["source=run", "output=weights.safetensors"],
    "prepare": ["dataset=synthetic", "output=store"],
    "benchmark": ["experiment=debug", "seconds_per_part=0.01"],
    "list": ["datasets"],
}


@pytest.mark.slow
def test_no_command_imports_anything_from_the_current_folder(folder: Path) -> None:
    """By `python -m cnnlab`, by the command, and in the processes that an ensemble starts."""
    from PIL import Image

    Image.new("L", (32, 32)).save(folder / "picture.png")
    lines = [["train", *WORDS["train"]], ["train", "ensemble.members=2", *SHORT]]
    lines[1].append("hydra.run.dir=pair")
    lines += [[verb, *words] for verb, words in WORDS.items() if verb != "train"]
    assert {words[0] for words in lines} == {*VERBS}
    for words in lines:
        done = run(folder, *BY_COMMAND, *words)
        assert done.returncode == 0, (words, done.stderr)

    (folder / "cnnlab.py").unlink()
    for words in (["train", "resume=pair"], ["train", "-m", "seed=1,2", *SHORT]):
        done = run(folder, *BY_PLAIN_MODULE, *words)
        assert done.returncode == 0, (words, done.stderr)
    assert_untouched(folder)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--no-python", COMMAND], ["-m", "cnnlab"]], ids=" ".join)
def test_torchrun_imports_nothing_from_the_current_folder(words: list[str], folder: Path) -> None:
    if words[0] == "-m":
        (folder / "cnnlab.py").unlink()
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
    line = [*words, "train", *SHORT, "hydra.run.dir=run"]
    done = run(folder, *launcher, "--nproc-per-node=2", *line)

    assert done.returncode == 0, done.stderr
    assert_untouched(folder)


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
    [pytest.param(BY_COMMAND, marks=pytest.mark.slow), BY_PLAIN_MODULE],
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
    assert_untouched(folder)


IN_CODE = re.compile(r"""sys\.executable,\s*["']-m["']""")
IN_A_SHELL = re.compile(r"(?:python\S*|PYTHON\"?|torchrun.*) -m cnnlab")


def test_no_line_of_ours_searches_the_current_folder_first() -> None:
    """In the source, the scripts, and the commands that the pages show."""
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/**/*.py")]:
        assert not IN_CODE.search(path.read_text()), path

    for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*.sh")]:
        commands = [line for line in path.read_text().splitlines() if not line.startswith("|")]
        assert not IN_A_SHELL.findall("\n".join(commands)), path
