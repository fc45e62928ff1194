"""The terminal: plain lines where there is no terminal, and no control characters from data."""

import io
import re
from pathlib import Path

import pytest

import cnnlab
from cnnlab.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


LONG = "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"


def test_without_a_terminal_nothing_in_a_table_is_shortened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = shown(lambda console: console.table(["class", "probability"], [[LONG, "99.87 %"]]))

    assert f"{LONG}      99.87 %\n" in text


@pytest.mark.parametrize("width", [10, 40, 60, 200])
def test_on_a_terminal_a_name_may_be_shortened_and_a_figure_never(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    figures = ["12.06 to 64.58 %", "61,706"]
    Console(stream=stream).table(["class", "interval", "images"], [[LONG, *figures]])

    line = stream.getvalue().splitlines()[-1].replace("\x1b[0m", "")
    assert line.endswith("  ".join(figures))
    assert line.startswith("great wh")
    assert ("..." in line) == (width < 200)
    assert width == 10 or len(line) <= width


def test_cells_of_wide_letters_keep_the_columns_straight() -> None:
    rows = [["\u732b\u732b", "1"], ["cats", "2"]]
    lines = shown(lambda console: console.table(["", "n"], rows)).splitlines()

    assert lines[1:] == ["\u732b\u732b  1", "cats  2"]


def test_only_the_console_speaks_to_the_terminal_library() -> None:
    """A string handed to it elsewhere would be read as markup."""
    source = Path(cnnlab.__file__).parent
    users = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"^\s*(from|import) rich\b", path.read_text(), re.MULTILINE)
    }
    assert users == {"console.py"}


def test_a_log_that_cannot_be_written_is_named_and_the_lines_still_show(tmp_path: Path) -> None:
    def act(console: Console) -> None:
        console.log_to(tmp_path / "missing" / "train.log")
        console.line("epoch 1")

    text = shown(act)
    assert "warning" in text
    assert text.endswith("epoch 1\n")


def test_the_bar_leaves_the_cursor_visible_whatever_happens_to_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    stream = Terminal()
    console = Console(stream=stream)
    console.start_bar(10, 0, "training")
    console.advance_bar(5, lambda: "training")
    written = stream.getvalue()  # as a kill -9 would leave it
    console.close()
    assert "training" in written
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")
