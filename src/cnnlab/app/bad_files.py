"""The command that leaves bad files out, told to whoever's command ended for them."""

import contextlib
from collections.abc import Iterator

from cnnlab.config import Launch
from cnnlab.data.leaving_out import BadFilesError

_LEAVE_OUT = "dataset.on_bad=skip"
_ALSO_RESUMED = "allow_changes=[dataset.on_bad,data_digest]"


@contextlib.contextmanager
def way_out_told(launch: Launch, *, resumes: bool = False) -> Iterator[None]:
    """End a BadFilesError of the block with this command and what it lacks to go on."""
    try:
        yield
    except BadFilesError as error:
        command = " ".join([launch.command, _LEAVE_OUT, *([_ALSO_RESUMED] if resumes else [])])
        hint = f"repair or remove them, or leave them out: {command}"
        raise BadFilesError(error.what, error.where, hint) from error
