"""`cnnlab predict`: classify picture files and folders."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab import session
from cnnlab.config import Launch, PredictConfig
from cnnlab.console import Console
from cnnlab.data.decode import BadImage
from cnnlab.data.pictures import picture_files, read_pictures
from cnnlab.errors import DataError, NumericsError
from cnnlab.inference.album import Album
from cnnlab.inference.network import StoredNetwork
from cnnlab.inference.predictor import Predictor, open_predictor
from cnnlab.inference.source import facts_of, title_of
from cnnlab.percentages import percent
from cnnlab.plain_json import json_text
from cnnlab.safe_output import csv_cell, escape_control, say, write_out

Top = list[tuple[str, float]]
"""(class name, probability), the most probable first."""

Named = list[tuple[Path, Top]]


@dataclass(frozen=True)
class Found:
    """What was found: an answer for each readable picture, and why the others have none.

    given: the words that named the networks. page: of the pictures, where one was asked for.
    """

    given: Sequence[str]
    networks: Sequence[StoredNetwork]
    named: Named
    bad: list[BadImage]
    page: Path | None


def run(config: PredictConfig, launch: Launch) -> int:
    """Classify every readable picture, report the others; return 0, or 3 where one was bad."""
    files, left_out = picture_files(config.images)
    if left_out.counts:
        say(str(left_out))

    here = session.begin(config.runtime)
    predictor = open_predictor(config.checkpoint, config.evaluation, here, config.which_weights)
    album = None if config.output is None else Album(Path(config.output))

    named: Named = []
    bad: list[BadImage] = []
    for path in files:
        found = predict_file(path, predictor, config, album)
        if isinstance(found, BadImage):
            bad.append(found)
        else:
            named.append((path, found))

    for problem in bad:
        say(str(problem))
    reasons = [(str(problem.path), problem.reason) for problem in bad]
    page = album.close(predictor.stored, reasons, launch.command) if album else None
    WRITERS[config.format](Found(config.checkpoint, predictor.stored, named, bad, page))
    return DataError.exit_code if bad else 0


def predict_file(
    path: Path, predictor: Predictor, config: PredictConfig, album: Album | None = None
) -> Top | BadImage:
    """Return the most probable classes of a picture, or why it cannot be read."""
    ((_, picture),) = read_pictures([path], predictor.channels)
    if isinstance(picture, BadImage):
        return picture

    as_is = config.pictures == "as_is"
    try:
        predictions = predictor.predict([picture], as_is=as_is)
    except NumericsError as error:
        raise NumericsError(error.what, escape_control(str(path)), error.hint) from error

    top = predictions.top(config.top)[0]
    if album is not None:
        album.add(path, picture, predictor.seen(picture, as_is=as_is), top)
    return top


def _as_json(found: Found) -> None:
    document: dict[str, Any] = {
        "checkpoints": list(found.given),
        "networks": [facts_of(network) for network in found.networks],
        "images": [
            {
                "path": str(path),
                "predictions": [{"class": name, "probability": p} for name, p in top],
            }
            for path, top in found.named
        ],
        "failed": [{"path": str(b.path), "reason": b.reason} for b in found.bad],
    }
    if found.page is not None:
        document["page"] = str(found.page)
    write_out(json_text(document))


def _as_csv(found: Found) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "rank", "class", "probability"])
    for path, top in found.named:
        for rank, (name, probability) in enumerate(top, start=1):
            cells = [csv_cell(str(path)), rank, csv_cell(name), f"{probability:.6f}"]
            writer.writerow(cells)


def _as_table(found: Found) -> None:
    console = Console(progress=False)
    for network in found.networks:
        console.line(f"{title_of(network)}: {network.path}")
    for path, top in found.named:
        console.line(str(path))
        console.table(["class", "probability"], [[name, percent(p)] for name, p in top])
    if found.bad:
        console.line(
            f"{len(found.named)} pictures classified, {len(found.bad)} could not be read "
            "(see above)"
        )
    if found.page is not None:
        console.line(f"all pictures on one page: {found.page}")


WRITERS = {"json": _as_json, "csv": _as_csv, "text": _as_table}
