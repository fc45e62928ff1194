"""`cnnlab copy experiment=quickstart mine.yaml`: one's own copy of a choice, to be edited."""

import os
import re
from pathlib import Path

from cnnlab import __version__
from cnnlab.config import CopyConfig, Launch, choices
from cnnlab.console import Console
from cnnlab.errors import BusyError, UsageError
from cnnlab.files import atomic
from cnnlab.safe_output import command_line, escape_control, listed

PACKAGE = "# @package"
ENDING = ".yaml"


def run(config: CopyConfig, launch: Launch) -> int:
    """Write the copy, and say how it is used; return 0."""
    assert config.choice is not None
    assert config.output is not None
    group, _, name = config.choice.partition("=")
    _check_source(group, name)
    target = _target(group, config.output)

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.unwritable(target.parent, error) from error
    text = copied(choices.text_of(group, name), config.choice)
    atomic.write_bytes(target, text.encode())

    folder = target.parent.parent
    where = [] if folder.resolve() == Path.cwd() else [f"--config-dir={folder}"]
    console = Console(progress=False)
    console.line(f"wrote {target}")
    console.line(
        f"edit it, then: {command_line('cnnlab', 'train', f'{group}={target.stem}', *where)}"
    )
    return 0


def copied(text: str, choice: str) -> str:
    """Return a YAML file without the comments at its top, whose figures are not the copy's."""
    lines = text.splitlines()
    body = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    package = [line for line in lines[:body] if line.startswith(PACKAGE)]
    about = f"# A copy of {choice} (cnnlab {__version__})."
    return "\n".join([*package, about, *lines[body:]]) + "\n"


def _check_source(group: str, name: str) -> None:
    """Raise UsageError for what is no choice of `cnnlab train`."""
    groups = [*choices.groups("train")]
    if group not in groups:
        raise UsageError(f"'{group}' is no group of choices", f"groups: {', '.join(groups)}")
    names = choices.choices(group, choices.own_folders())
    if name not in names:
        raise UsageError(f"no {group} '{name}'", f"available: {listed(names)}")


def _target(group: str, output: str) -> Path:
    """Return the file to write: a name alone goes into the folder of its group, here.

    Raises UsageError where it would not be found, BusyError where there is something already.
    """
    path = Path(output)
    if path.parent == Path() and not output.startswith("."):
        path = Path(group) / path
    if path.suffix != ENDING:
        path = path.with_name(f"{path.name}{ENDING}")

    if path.absolute().parent.name != group:
        raise UsageError(
            f"{group}={path.stem} would not be found in this folder",
            escape_control(str(path)),
            f"write it into a folder named {group}: output={group}/{path.name}",
        )
    if not re.fullmatch(r"\w[\w-]*", path.stem):
        raise UsageError(f"'{path.stem}' cannot be typed as a choice", hint="letters, digits, _, -")
    if path.stem in choices.choices(group):
        raise UsageError(
            f"{group}={path.stem} is built in, and would be found instead of the copy",
            hint="give it another name",
        )
    if os.path.lexists(path):
        raise BusyError("the file exists already", escape_control(str(path)), "name another one")
    return path
