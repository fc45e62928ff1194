"""What a user types, one command after another in the processes that torchrun started.

Python and torch are imported once for all of them; a command joins and leaves the job by itself.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

from cnnlab import cli
from cnnlab.distributed.joining import LAUNCHED
from tests.distributed.launching import PLUGIN, SETTINGS

EVALUATE = [
    *("evaluate", "checkpoint=[run,alone]", *PLUGIN, "format=json", "batch_size=7"),
    *("runtime.device=cpu", "runtime.precision=tf32"),
]
"""An ensemble in two run folders: its report has no place, so none is drawn."""


HYBRID = (
    *("distributed.scheme=hybrid", "model.dropout=0.5", "ema.decay=0.5", "optimizer=adamw"),
    *("optimizer.learning_rate=0.01", "optimizer.epsilon=0.1", "trainer.max_filter_rms=0.1"),
    "optimizer.groups=[{layers:[f6,output],rate_factor:0.5}]",
)
"""Words of a hybrid, whose masks are those of one process; with what has parts of its own state."""


def run(*words: str) -> dict[str, Any]:
    """Train with a signal to process 1 in step 4, resume, evaluate; the same in one process.

    words: for all trainings. Return exit codes and what was printed by this process, by command.
    """
    found: dict[str, Any] = {}
    settings = [*SETTINGS, *words]
    with setting(FAULT="term 1 4"):
        found["stopped"] = command([*settings, "hydra.run.dir=run"])
    found["resumed"] = command(["train", "resume=run", *PLUGIN])
    with alone() as is_first:
        if is_first:
            found["alone"] = command([*settings, "hydra.run.dir=alone"])
            found["evaluated_alone"] = command(EVALUATE)
            with setting(FAULT="term 0 4"):
                found["stopped_alone"] = command([*settings, "hydra.run.dir=grown"])
    found["evaluated"] = command(EVALUATE)
    found["grown"] = command(["train", "resume=grown", *PLUGIN])
    return found


def run_hybrid() -> dict[str, Any]:
    """Do the same as a hybrid, then open its checkpoints elsewhere.

    One process goes on with a run of two, a run of scheme data goes on as a hybrid, and a hybrid as
    scheme data.
    """
    found = run(*HYBRID)
    data = [word for word in HYBRID if "scheme" not in word]
    other = ["train", *PLUGIN, "allow_changes=[distributed.scheme]"]
    starts = {"shrunk": HYBRID, "to_data": HYBRID, "to_hybrid": data}
    for name, words in starts.items():
        with setting(FAULT="term 1 4"):
            found[f"{name} stopped"] = command([*SETTINGS, *words, f"hydra.run.dir={name}"])
    with alone() as is_first:
        if is_first:
            found["shrunk"] = command(["train", "resume=shrunk", *PLUGIN])
    found["to_data"] = command([*other, "resume=to_data", "distributed.scheme=data"])
    found["to_hybrid"] = command([*other, "resume=to_hybrid", "distributed.scheme=hybrid"])
    return found


@contextlib.contextmanager
def alone() -> Iterator[bool]:
    """Let commands of the first process work as if torchrun had not started it."""
    is_first = os.environ["RANK"] == "0"
    with setting(**dict.fromkeys(LAUNCHED)):
        yield is_first


def command(words: list[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = cli.main(words)
    return code, output.getvalue(), errors.getvalue()


@contextlib.contextmanager
def setting(**variables: str | None) -> Iterator[None]:
    """Set variables of the environment inside the block; None: remove."""
    before = {name: os.environ.get(name) for name in variables}
    _put(variables)
    try:
        yield
    finally:
        _put(before)


def _put(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
