"""`cnnlab predict`: classify picture files and folders."""

import csv
import sys
from pathlib import Path
from typing import Any

from cnnlab import session
from cnnlab.config import Launch, PredictConfig
from cnnlab.console import Console
from cnnlab.data.decode import BadImage
from cnnlab.data.pictures import picture_files, read_pictures
from cnnlab.errors import DataError, NumericsError
from cnnlab.inference.predictor import Predictor, open_predictor
from cnnlab.percentages import percent
from cnnlab.plain_json import json_text
from cnnlab.safe_output import csv_cell, escape_control, say, write_out

Top = list[tuple[str, float]]
"""(class name, probability), the most probable first."""

Named = list[tuple[Path, Top]]


def run(config: PredictConfig, launch: Launch) -> int:
    """Classify every readable picture, report the others; return 0, or 3 where one was bad."""
    files, left_out = picture_files(config.images)
    if left_out.counts:
        say(str(left_out))

    here = session.begin(config.runtime)
    predictor = open_predictor(config.checkpoint, config.evaluation, here, config.which_weights)

    named: Named = []
    bad: list[BadImage] = []
    for path in files:
        found = predict_file(path, predictor, config)
        if isinstance(found, BadImage):
            bad.append(found)
        else:
            named.append((path, found))

    for problem in bad:
        say(str(problem))
    WRITERS[config.format](config, named, bad)
    return DataError.exit_code if bad else 0


def predict_file(path: Path, predictor: Predictor, config: PredictConfig) -> Top | BadImage:
    """Return the most probable classes of a picture, or why it cannot be read."""
    ((_, picture),) = read_pictures([path], predictor.channels)
    if isinstance(picture, BadImage):
        return picture

    try:
        predictions = predictor.predict([picture], as_is=config.pictures == "as_is")
    except NumericsError as error:
        raise NumericsError(error.what, escape_control(str(path)), error.hint) from error
    return predictions.top(config.top)[0]


def _as_json(config: PredictConfig, named: Named, bad: list[BadImage]) -> None:
    document: dict[str, Any] = {
        "checkpoints": config.checkpoint,
        "images": [
            {
                "path": str(path),
                "predictions": [{"class": name, "probability": p} for name, p in top],
            }
            for path, top in named
        ],
        "failed": [{"path": str(b.path), "reason": b.reason} for b in bad],
    }
    write_out(json_text(document))


def _as_csv(config: PredictConfig, named: Named, bad: list[BadImage]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "rank", "class", "probability"])
    for path, top in named:
        for rank, (name, probability) in enumerate(top, start=1):
            cells = [csv_cell(str(path)), rank, csv_cell(name), f"{probability:.6f}"]
            writer.writerow(cells)


def _as_table(config: PredictConfig, named: Named, bad: list[BadImage]) -> None:
    console = Console(progress=False)
    for path, top in named:
        console.line(str(path))
        console.table(["class", "probability"], [[name, percent(p)] for name, p in top])
    if bad:
        console.line(f"{len(named)} pictures classified, {len(bad)} could not be read (see above)")


WRITERS = {"json": _as_json, "csv": _as_csv, "text": _as_table}
