"""A request to end a command that has only begun: an exit code and no traceback, at every moment.

The moments are Python's own audit events (imports, opened files, code that begins), counted from
our first line on, so that no test depends on how fast the machine is.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributed.launching import environment

SENDER = """
import os, signal, sys

number, wanted = int(os.environ["SEND"]), int(os.environ["AFTER"])
num_seen = None
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell of the tests ignores

def send(event, arguments):
    global num_seen
    if num_seen is not None:
        num_seen += 1
        if num_seen == wanted:
            os.kill(os.getpid(), number)
    elif event == "exec" and arguments[0].co_filename.endswith("cnnlab/starting.py"):
        num_seen = 0

sys.addaudithook(send)
"""
SENDER_AT_IMPORT = """
import os, signal, sys

wanted = os.environ["MODULE"]
signal.signal(signal.SIGINT, signal.default_int_handler)

def send(event, arguments):
    global wanted
    if event == "import" and arguments[0] == wanted:
        wanted = None
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(send)
"""
SCRIPT = "import sys\nfrom cnnlab.cli import main\nsys.exit(main())\n"
ROOT = Path(__file__).parents[1]
SUMMARY = ["summary", "model=lenet5"]
WAYS = {
    "module": ["-m", "cnnlab", *SUMMARY],
    "script": ["cnnlab", *SUMMARY],
    "train.py": [str(ROOT / "scripts" / "train.py")],
    "evaluate.py": [str(ROOT / "scripts" / "evaluate.py"), "checkpoint=latest"],
}
ENDS = {
    signal.SIGINT: (130, "cnnlab: interrupted\n"),
    signal.SIGTERM: (143, ""),
    signal.SIGUSR1: (143, ""),
}
OTHERS = {signal.SIGHUP: (129, "")}
EARLY, LATE = [1, 2, 10, 100, 1_000], [10_000, 30_000]
"""The late ones are in the import of torch; a whole `summary` has some 60,000 events."""

CASES = [(way, number, moment) for way in WAYS for number in ENDS for moment in EARLY]
CASES += [("script", number, 100) for number in OTHERS]
CASES += [
    ("module", number, moment) for number in (signal.SIGINT, signal.SIGTERM) for moment in LATE
]

IN_A_LIBRARY = """
import signal, sys
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
import cnnlab.cli
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the installed script and with the module that sends the signal."""
    (tmp_path / "sitecustomize.py").write_text(SENDER)
    (tmp_path / "cnnlab").write_text(SCRIPT)
    return tmp_path


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = f"{folder}:{environment()['PYTHONPATH']}"
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(**variables) | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("way", "number", "moment"), CASES)
def test_a_request_before_the_task_ends_the_command_quietly(
    way: str, number: signal.Signals, moment: int, folder: Path
) -> None:
    done = run(folder, *WAYS[way], SEND=str(int(number)), AFTER=str(moment))

    assert (done.returncode, done.stderr) == (ENDS | OTHERS)[number]


def test_a_program_that_imports_cnnlab_keeps_its_handlers(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", IN_A_LIBRARY)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_of_that_name_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(IN_A_LIBRARY)
    done = run(tmp_path, "train.py")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["torch", "torch.nn"])
def test_a_job_of_a_sweep_that_is_interrupted_while_it_is_imported_has_its_row(
    module: str, folder: Path
) -> None:
    (folder / "sitecustomize.py").write_text(SENDER_AT_IMPORT)
    words = ["-m", "cnnlab", *SUMMARY, "-m", "init_report=true,false", "hydra.sweep.dir=swept"]
    done = run(folder, *words, MODULE=module)

    assert (done.returncode, done.stderr.splitlines()[-1]) == ENDS_SHOWN
    (row,) = map(json.loads, (folder / "swept" / "jobs.jsonl").read_text().splitlines())
    assert (row["job"], row["exit_code"], row["status"]) == (0, 130, "failed")


ENDS_SHOWN = (130, "cnnlab: interrupted")
