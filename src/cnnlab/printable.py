"""Text from strangers, made safe to show: on a terminal, in a log, in a spreadsheet.

What a command writes goes through here or through `console`; a test reads the source for others.
"""

import codecs
import shlex
import sys

FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def printable(text: str) -> str:
    """Return the text with every control and unprintable character as its escape (\\x1b, \\n).

    File names, class names and messages of foreign files may hold terminal commands or line
    breaks that fake a message of ours. Letters of any script stay as they are. A byte of a file
    name that is no UTF-8 is shown as that byte (\\xe4).
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python hands over bytes that it cannot decode
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    """Return the text with all but its line breaks printable."""
    return "\n".join(map(printable, text.split("\n")))


def say(message: str, speaker: str = "cnnlab") -> None:
    """Write a message of one or more lines on stderr; commands have no other way to it.

    In one piece, since several processes may write to the same terminal.
    """
    sys.stderr.write(f"{speaker}: {printable_lines(message)}\n")
    sys.stderr.flush()


def write_out(text: str) -> None:
    """Write an answer on stdout that is no table: a document, a page of help."""
    sys.stdout.write(f"{printable_lines(text)}\n")
    sys.stdout.flush()


def command_line(*words: str) -> str:
    """Return a command to propose, its words quoted for a shell."""
    return printable(shlex.join(words))


def csv_cell(value: object) -> object:
    """Return what stands in a cell of a CSV file: numbers as they are, text never a formula.

    A text that begins like a formula gets an apostrophe in front; None is an empty cell.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    return f"'{printable(value)}" if value.startswith(FORMULA_MARKS) else printable(value)


PLAIN_SYMBOLS = {"·": "*", "×": "x", "²": "^2", "…": "..."}
"""What stands for our own symbols where an encoding lacks them; all else becomes an escape."""


def in_plain_symbols(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded: an error handler for a stream, as `codecs` wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in lacking)
    shown = (PLAIN_SYMBOLS.get(c, e) for c, e in zip(lacking, escaped, strict=True))
    return "".join(shown), error.end


DEGRADING = "cnnlab.in_plain_symbols"
"""Name of the error handler for streams that may lack characters, as an ASCII terminal does."""

codecs.register_error(DEGRADING, in_plain_symbols)
