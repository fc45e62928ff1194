"""The folder of `cnnlab predict output=FOLDER`: a picture for each file, and a page of them."""

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from cnnlab.files import regular
from cnnlab.inference.network import StoredNetwork
from cnnlab.inference.source import title_of
from cnnlab.percentages import percent
from cnnlab.reports import page as report
from cnnlab.reports import prediction_page, sections
from cnnlab.reports.page import Figure
from cnnlab.visualization.answers import draw_answer
from cnnlab.visualization.figures import save

PAGE, PICTURES = "predictions.html", "pictures"
MOST_ON_PAGE = 500
"""Pictures on the page, each of about 30 KB; further ones are in their folder alone."""


class Album:
    """Saves a picture of each file that was classified, then one page with them.

    Pictures are called by their number and what is plain in the name of the file, so that no name
    leads out of the folder. Files of an earlier call with the same names are replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pictures = folder / PICTURES
        self._pictures.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        regular.check_folder(self._pictures)
        self._figures: list[Figure] = []
        self._count = 0

    def add(self, path: Path, given: Tensor, seen: Tensor, top: list[tuple[str, float]]) -> None:
        """Draw and save one picture. given uint8 [C,H,W]; seen uint8 [V,C,s,s]."""
        self._count += 1
        name = f"{self._count:04d}_{plain_name(path)}"
        picture = draw_answer(name, path.name, given, seen, top)
        save(picture, self._pictures, ["png"])

        if len(self._figures) < MOST_ON_PAGE:
            shown = sections.figure(picture)
            answer = f"{path}: {top[0][0]} ({percent(top[0][1])})"
            self._figures.append(Figure(shown.png, answer, path.name))

    def close(
        self, networks: Sequence[StoredNetwork], bad: Sequence[tuple[str, str]], command: str
    ) -> Path:
        """Write the page and return its path. bad: files that could not be read, and why."""
        left = self._count - len(self._figures)
        remarks = [f"{left:,} more are in the folder {PICTURES}."] if left else []
        rows = [[title_of(network), str(network.path)] for network in networks]
        who = title_of(networks[0]) if len(networks) == 1 else f"{len(networks)} networks"
        number = f"{self._count:,} picture{'' if self._count == 1 else 's'}"

        content = prediction_page.page(rows, self._figures, remarks, bad, command)
        return report.write(self.folder / PAGE, f"{number}, classified by {who}", content)


def plain_name(path: Path) -> str:
    """Return the letters, digits, dots and dashes of a file's name without its ending."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", path.stem).strip("._")[:60] or "picture"
