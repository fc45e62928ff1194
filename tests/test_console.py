"""The terminal: plain lines where there is no terminal, and no control characters from data."""

import io
from pathlib import Path

import pytest

from cnnlab.console import Console


def shown(action: object) -> str:
    stream = io.StringIO()
    console = Console(stream=stream)
    action(console)  # type: ignore[operator]
    console.close()
    return stream.getvalue()


def test_lines_go_to_the_stream_and_with_their_time_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"

    def act(console: Console) -> None:
        console.log_to(log)
        console.line("epoch 1")

    assert shown(act) == "epoch 1\n"
    stamp, _, text = log.read_text().partition(" ")
    assert (len(stamp), text) == (8, "epoch 1\n")


def test_without_a_terminal_there_is_no_bar() -> None:
    def act(console: Console) -> None:
        console.start_bar(10, 0, "training")
        console.advance_bar(5, lambda: "training")
        console.stop_bar()

    assert shown(act) == ""


def test_control_characters_are_escaped_and_markup_is_shown_as_written() -> None:
    text = shown(lambda console: console.line("[red]class\x1b[2J"))
    assert "\x1b" not in text
    assert text.startswith("[red]class\\x1b")


def test_a_table_aligns_and_shows_each_cell() -> None:
    def act(console: Console) -> None:
        console.table(["layer", "parameters"], [["c1", "156"], ["total lenet5", "61,706"]])

    lines = shown(act).splitlines()
    assert [line.split()[-1] for line in lines] == ["parameters", "156", "61,706"]


def test_a_log_that_cannot_be_written_is_named_and_the_lines_still_show(tmp_path: Path) -> None:
    def act(console: Console) -> None:
        console.log_to(tmp_path / "missing" / "train.log")
        console.line("going on")

    text = shown(act)
    assert "warning" in text
    assert text.endswith("going on\n")


def test_the_bar_leaves_the_cursor_visible_whatever_happens_to_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = Console(stream=stream)
    console.start_bar(10, 0, "training")
    console.advance_bar(5, lambda: "training")
    written = stream.getvalue()  # as a kill -9 would leave it
    console.close()
    assert "training" in written
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")
