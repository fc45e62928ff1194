"""Errors in the user's own modules: whose line failed, and what their author is told."""

import importlib
import traceback
from pathlib import Path

from cnnlab.errors import CnnlabError, UsageError

TRACEBACK = "CNNLAB_TRACEBACK=1 shows the traceback"

OWN_CODE: set[str] = set()
"""Files of imported plugins, and of the modules beside them that they import."""


def place_of(error: BaseException | None) -> tuple[str, int] | None:
    """Return file and line where a plugin's code failed; None: no such code was running."""
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename in OWN_CODE:
            return str(error.filename), error.lineno or 0
        frames = traceback.extract_tb(error.__traceback__)
        if own := [frame for frame in frames if frame.filename in OWN_CODE]:
            return own[-1].filename, own[-1].lineno or 0
        error = error.__cause__ or error.__context__
    return None


def as_usage(error: BaseException, log: str | None = None) -> UsageError | None:
    """Return an exception of a plugin's code as its author's error; None: it is not one.

    log: the file that has its traceback.
    """
    place = place_of(error)
    if place is None or isinstance(error, CnnlabError):
        return None
    where = f"{place[0]}, line {place[1]}"
    seen = f"traceback in {log}" if log else TRACEBACK
    return UsageError(f"error in your own part: {_one_line(error)}", where, seen)


def of_import(error: Exception, name: str, package: str | None) -> UsageError:
    """Return the error of a module that cannot be imported, with the line that failed.

    package: the installed package whose plugin it is; None: the command line names it.
    """
    if package is not None:
        what = f"the installed package {package} cannot be imported as a plugin ({name})"
    else:
        what = f"plugins: cannot import '{name}'"
    return UsageError(what, _where(error), _advice(error, name, package))


def _where(error: Exception) -> str:
    """Return the error in a line, with the place in the user's file where there is one."""
    if isinstance(error, CnnlabError):
        text = error.what
    elif isinstance(error, FileNotFoundError):
        return f"no file {error.filename}"
    else:
        text = _one_line(error)

    inside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not is_ours(frame.filename)
    ]
    library = str(Path(importlib.__file__ or "").parent)
    own = [frame for frame in inside if not frame.filename.startswith(library)]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {text}"
    return f"{own[0].filename}, line {own[0].lineno}: {text}" if own else text


def is_ours(file: str) -> bool:
    """Return whether a file is one of cnnlab."""
    return Path(file).is_relative_to(Path(__file__).parent)


def _advice(error: Exception, name: str, package: str | None) -> str:
    if package is not None:
        return f"repair or uninstall it; {TRACEBACK}"
    if isinstance(error, CnnlabError) and error.hint:
        return error.hint
    if isinstance(error, FileNotFoundError):
        return "give its path: plugins=[./my_parts.py]"
    if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
        return (
            f"looked in {Path.cwd()}, PYTHONPATH and the environment; "
            "a path works too: plugins=[./my_parts.py]"
        )
    return TRACEBACK


def _one_line(error: BaseException) -> str:
    first = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
