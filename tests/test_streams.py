"""Standard output and standard error that fail, under every command."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from cnnlab.cli import main
from cnnlab.command.verbs import VERBS
from cnnlab.console import Console
from cnnlab.errors import OutputLost
from cnnlab.run_folder import RunFolder
from cnnlab.streams import GuardedStream, guarded, loss_of
from scripts.torture import streams
from scripts.torture.streams import CODES

LEAN = ["experiment=debug", "logging.report=false", "logging.tensorboard=false"]
TRAIN = ["train", *LEAN, "trainer.epochs=1", "runtime.num_threads=1"]


@contextlib.contextmanager
def lost(kind: str) -> Iterator[TextIO | None]:
    """Give a stream as Python makes it of such a descriptor."""
    if kind == "closed":
        yield None
        return
    stream = open("/dev/full", "w") if kind == "full" else streams.unread()  # noqa: SIM115
    yield stream
    stream.close()  # fails if anything was left for it


@pytest.mark.parametrize("kind", CODES)
def test_a_lost_text_ends_the_command_or_is_noted(kind: str) -> None:
    with lost(kind) as stream:
        guard = GuardedStream(stream, ends=True)
        guard.flush()  # nothing is lost yet
        with pytest.raises(OutputLost) as loss:
            print("text", file=guard, flush=True)
        assert loss.value.exit_code == CODES[kind]

        guard.ends = False
        assert guard.write("more") == 4
        guard.flush()
        assert loss_of(guard) is not None


def test_letters_that_a_stream_lacks_are_replaced_and_not_lost(tmp_path: Path) -> None:
    with open(tmp_path / "said", "w", encoding="ascii") as stream:
        GuardedStream(stream, ends=True).write("3×3 \u732b")
    assert (tmp_path / "said").read_text() == "3x3 \\u732b"


def test_a_stream_closed_by_another_is_lost_too(tmp_path: Path) -> None:
    stream = open(tmp_path / "said", "w")  # noqa: SIM115
    guard = GuardedStream(stream, ends=False)
    stream.close()
    guard.write("text")
    assert loss_of(guard) is not None


def test_a_block_in_a_block_decides_for_itself_and_the_streams_come_back() -> None:
    before = sys.stdout, sys.stderr
    with guarded():
        guard = sys.stdout
        assert isinstance(guard, GuardedStream)
        with guarded(ends=False):
            assert (sys.stdout is guard, guard.ends) == (True, False)
        assert guard.ends
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["list", "experiments", "format=json"],
        ["train", "model=mlp", "--help"],
    ],
    ids=" ".join,
)
def test_a_command_without_output_ends_as_cat_does(
    words: list[str], kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with lost(kind) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(words) == CODES[kind]

    said = capsys.readouterr().err
    assert len(said.splitlines()) == (kind != "broken")
    assert kind == "broken" or said.startswith("cnnlab: standard output cannot be written: ")


@pytest.mark.parametrize("kind", CODES)
def test_a_message_that_nobody_takes_leaves_the_exit_code(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lost(kind) as stream, lost(kind) as output:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["tarin"]) == 2


@pytest.mark.parametrize(
    "kind", ["broken", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("closed", "full"))]
)
def test_a_training_goes_on_without_its_output(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with lost(kind) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([*TRAIN, "hydra.run.dir=run", "trainer.limit_train_batches=1"]) == 0

    log = Path("run/train.log").read_text()
    assert log.count("standard output is lost") == 1
    assert "try next" in log
    assert RunFolder("run").status()["status"] == "done"
    assert capsys.readouterr().err.count("all lines are in run/train.log") == 1


def test_a_bar_on_a_terminal_that_is_gone_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    main_end, terminal = pty.openpty()
    with open(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with guarded(ends=False):
            console = Console()
            console.log_to(tmp_path / "train.log")
            console.start_bar(10, 0, "training")
            os.close(main_end)
            console.advance_bar(5, lambda: "training")
            console.line("epoch 1")
            console.close()

    log = (tmp_path / "train.log").read_text()
    assert "epoch 1" in log
    assert log.count("standard output is lost") == 1


# Real processes from here on: what Python itself does at its start and its exit belongs to it.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    streams.furnish(folder)
    return folder


def test_every_command_is_tried() -> None:
    assert {name.split()[0] for name in streams.COMMANDS} == {"--help", "-sc", *VERBS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("name", streams.COMMANDS)
def test_every_command_without_its_output(name: str, kind: str, place: Path) -> None:
    assert streams.without_output(place, name, kind) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("name", streams.COMMANDS)
def test_every_command_without_its_messages(name: str, kind: str, place: Path) -> None:
    assert streams.without_messages(place, name, kind) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", streams.COMMANDS)
def test_every_command_where_all_is_ascii(name: str, place: Path) -> None:
    assert streams.in_ascii(place, name) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", CODES)
def test_a_failure_has_its_code_without_any_message(kind: str, tmp_path: Path) -> None:
    done = streams.run(tmp_path, ["evaluate", "checkpoint=nowhere"], "stderr", kind)
    assert (done.returncode, done.stdout) == (4, "")


@pytest.mark.slow
def test_ctrl_c_that_ends_the_reader_too_saves_and_gives_130(tmp_path: Path) -> None:
    """As `cnnlab train 2>&1 | tee log` and a Ctrl-C, which ends `tee` as well."""
    words = [*TRAIN, "trainer.epochs=100000", "hydra.run.dir=run"]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cnnlab", *words], cwd=tmp_path, stdout=writing, stderr=writing
    )
    os.close(writing)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.is_file() and metrics.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    os.close(reading)
    process.send_signal(signal.SIGINT)

    assert process.wait() == 130
    folder = RunFolder(tmp_path / "run")
    assert folder.status()["status"] == "interrupted"
    assert (folder.checkpoints / "last.safetensors").is_file()
