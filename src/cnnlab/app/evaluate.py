"""`cnnlab evaluate`: the error of one network, or of several as an ensemble, from paths alone."""

from pathlib import Path

from cnnlab import session
from cnnlab.config import EvaluateConfig, Launch
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.inference.evaluation import measure
from cnnlab.inference.members import output_folder
from cnnlab.inference.report import write
from cnnlab.inference.result import EvaluationResult, document, show
from cnnlab.plain_json import json_text
from cnnlab.safe_output import write_out

STALL_SECONDS = 600.0
"""Several processes: the job ends after this long without a finished batch in any of them."""


def run(config: EvaluateConfig, launch: Launch) -> int:
    """Evaluate the checkpoints on the chosen split, print the result, return 0.

    Several processes score a share of the images each; the first one prints and writes.
    """
    result, folder, is_first = measured(config, launch)
    if is_first:
        print_and_save(result, folder, launch)
    return 0


def measured(config: EvaluateConfig, launch: Launch) -> tuple[EvaluationResult, Path | None, bool]:
    """Return the result, the folder of its report, and whether this process is the first one."""
    folder = output_folder(config.checkpoint, config.output)
    if config.save_probabilities and folder is None:
        raise UsageError(
            "save_probabilities needs a folder: the checkpoints are from different run folders",
            hint="name one: output=FOLDER",
        )

    with (
        session.shared(config.runtime, STALL_SECONDS, settings=config) as here,
        session.skip_hint(launch),
    ):
        result = measure(config, here, folder)
    return result, folder, here.peers.is_first


def print_and_save(result: EvaluationResult, folder: Path | None, launch: Launch) -> None:
    """Print the result, and write its report into `folder`."""
    is_text = result.config.format == "text"
    if is_text:
        show(Console(), result)
    else:
        write_out(json_text(document(result)))

    if folder is not None:
        page = write(result, folder, launch.command)
        if is_text:
            Console().line(f"report: {page}")
