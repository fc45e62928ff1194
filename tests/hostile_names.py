"""Names that people or strangers give to classes, files and folders, each awkward to some format.

Every output must show each of them as it is, or with its control characters as escapes: on a
terminal, in a table, in CSV, JSON and HTML, and in a picture.
"""

FOLDER_NAMES = (
    "[dog]",  # markup of the terminal library, and a list of Hydra's
    "[bold red]loud",
    "[",
    ":cat:",  # an emoji's code
    "=1+1",  # a spreadsheet's formula, as are the next five
    "=cmd|' C calc'!A0",
    "+49",
    "-x",
    "@home",
    "\uff1d1\uff0b1",  # the same in full width
    "\ttab",
    "<b>&amp;<b>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "a,b",
    'say "so"',
    "it's",
    "$x_1$",  # a formula of the drawing library
    "$\\frac{",
    "_hidden",  # left out of a legend
    "${seed}",  # an interpolation
    "%s {0}",
    "null",
    "1e5",
    "total",  # the last row of a table
    "back\\slash",
    "two\nlines",
    "\x1b[2Jclear",
    "\u202egpj.exe",  # turns the direction of writing
    "\u2066<b>\u2069",  # isolates a piece of it
    "line\u2028break",
    "zero\u200bwidth",
    "\ufeffmark",
    "\x9b31mred",  # one byte in place of escape and bracket
    "bell\a\x7f",
    "caf\u00e9",
    "\u732b",
    "x" * 120,
    "\u00e9" * 120,
)
"""Each can be the name of a folder."""

NOT_UTF_8 = "latin\udce91"
"""Bytes of a file name, as Python represents them."""

NAMES = (
    *FOLDER_NAMES,
    "</script><script>alert(1)</script>",
    "]]>",
    "x[/nope]",
    "[/]",
    '=HYPERLINK("http://x/","y")',
    "\r\n2026-01-01 00:00:00 done",
    "\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\",
    "../../etc/passwd",
    NOT_UTF_8,
    "nul\0",
    "",
    " ",
    "long-" * 800,
)
"""As class names may come out of a checkpoint or a Store."""
