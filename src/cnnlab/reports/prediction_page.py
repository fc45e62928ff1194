"""The page of `cnnlab predict output=FOLDER`: every picture with what the network saw of it."""

from collections.abc import Sequence

from cnnlab.reports.page import Figure, Part, Section, Table, Text

Rows = Sequence[Sequence[str]]


def page(
    networks: Rows, figures: Sequence[Figure], remarks: Sequence[str], bad: Rows, command: str
) -> list[Section]:
    """Return the sections of the page.

    networks: what each network is, and its file. remarks: on what is shown. bad: files that could
    not be read, and why.
    """
    note = (
        "Left the file, in the middle the pixels that the network was given, after resizing and "
        "cropping and before their mean is subtracted; right its likeliest classes."
    )
    pictures: list[Part] = [Text(note), *(Text(line) for line in remarks), *figures]
    unreadable = [Table(["file", "reason"], bad)] if bad else []

    return [
        Section("Network" if len(networks) == 1 else "Networks", [_networks(networks)]),
        Section("Could not be read", [*unreadable]),
        Section("Pictures", pictures),
        Section("Made by", [Text(command, preformatted=True)]),
    ]


def _networks(rows: Rows) -> Table:
    return Table(["network", "checkpoint"], rows)
