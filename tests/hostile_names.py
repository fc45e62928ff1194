"""Names that people or strangers give to classes, files and folders, each awkward to some format.

Every output must show each of them as it is, or with its control characters as escapes: on a
terminal, in a table, in CSV, JSON and HTML, and in a picture.
"""

FOLDER_NAMES = (
    "[dog]",  # markup of the terminal library, and a list of Hydra's
    "[bold red]loud",
    "[",
    ":cat:",  # an emoji's code
    "=1+1",  # a spreadsheet's formula, as are the next three
    "+49",
    "-x",
    "@home",
    "\ttab",
    "<b>&amp;<b>",
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
    "caf\u00e9",
    "\u732b",
    "x" * 120,
)
"""Each can be the name of a folder."""

NAMES = (*FOLDER_NAMES, "</script>", "x[/nope]", "[/]", "latin\udce91", "nul\0")
"""As class names may come out of a checkpoint or a Store."""
