"""`cnnlab evaluate`: the error of one network, or of several as an ensemble, from paths alone."""

from pathlib import Path

from cnnlab import session
from cnnlab.app.bad_files import way_out_told
from cnnlab.config import EvaluateConfig, Launch
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.inference.answer import Answer, document, show
from cnnlab.inference.evaluation import measure
from cnnlab.inference.members import output_folder
from cnnlab.plain_json import json_text
from cnnlab.printable import write_out
from cnnlab.reports.evaluation_page import write

STANDSTILL_SECONDS = 600.0
"""Of several processes: how long none of them may finish a batch before the job ends."""


def run(config: EvaluateConfig, launch: Launch) -> int:
    """Evaluate the checkpoints on the chosen split, print the answer, return 0.

    Several processes judge a share of the images each; the first one prints and writes.
    """
    folder = output_folder(config.checkpoint, config.output)
    if config.save_probabilities and folder is None:
        raise UsageError(
            "save_probabilities needs a folder: these checkpoints lie in no one run folder",
            hint="name one: output=FOLDER",
        )
    with session.shared(config.runtime, STANDSTILL_SECONDS) as here, way_out_told(launch):
        answer = measure(config, folder, here)
    return tell(answer, folder, launch) if here.peers.is_first else 0


def tell(answer: Answer, folder: Path | None, launch: Launch) -> int:
    """Print the answer, write its report into `folder`, return 0."""
    config = answer.config
    if config.format == "json":
        write_out(json_text(document(answer)))
    else:
        show(Console(), answer)
    if folder is not None:
        page = write(answer, folder, launch.command)
        if config.format == "text":
            Console().line(f"report: {page}")
    return 0
