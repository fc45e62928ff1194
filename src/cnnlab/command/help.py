"""`cnnlab --help`, and `cnnlab VERB --help` from the dataclasses and a composed config."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnlab import __version__
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from cnnlab.config.keys import Key, walk
from cnnlab.safe_output import escape_control

COLUMNS = 100
"""Width of a page."""

GROUP_COLUMNS = VALUE_COLUMNS = 11
EVERYWHERE = """\
everywhere:
  key=value            no spaces around =; lists as [1,2]; quote special characters for the shell
  -m key=1,2,3         a sweep: one run per value, or per combination of several keys
  --cfg job            print the composed settings and exit
  --config-dir FOLDER  also search FOLDER for YAML files"""

RUN_DIR = "\n  hydra.run.dir=FOLDER write the run into FOLDER, which must be new or empty"


def overview() -> str:
    """Return what `cnnlab --help` prints."""
    width = max(map(len, VERBS))
    commands = [f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()]

    return "\n".join(
        [
            f"cnnlab {__version__}: train, test and visualize LeNet and AlexNet",
            "usage: cnnlab COMMAND [key=value ...]",
            "",
            *commands,
            "",
            "settings of a command: cnnlab COMMAND --help",
            "completion of a shell: cnnlab -sc install=bash, or zsh, fish",
        ]
    )


@dataclass(frozen=True)
class InUse:
    """The settings that a command line would use.

    values: resolved. chosen: the choice of each group. folders: of the user's own YAML files.
    """

    values: dict[str, Any]
    chosen: dict[str, str | None]
    folders: Sequence[str] = ()


def describe(name: str, line: InUse) -> str:
    """Return what `cnnlab VERB --help` prints: every setting with the value it would have."""
    verb = VERBS[name]
    lines = [*_wrapped(f"cnnlab {name}: {verb.help}", 2), f"usage: cnnlab {name} [key=value ...]"]
    lines += [f"example: {verb.example}", ""]
    usual = {group: choice for group, choice in choices.groups(name).items() if verb.uses(group)}
    if usual:
        lines += [
            "groups (GROUP=CHOICE; the selected choice comes first):",
            *_groups(usual, line),
            "",
        ]

    known = walk(verb.config_class, _names_in_use(line.values))
    keys = [key for key in known if verb.uses(key.name)]
    lines += ["settings (key, current value, description, allowed values):"]
    everywhere = EVERYWHERE + (RUN_DIR if verb.makes_runs else "")
    return "\n".join([*lines, *_settings(keys, line.values), "", everywhere])


def _names_in_use(values: dict[str, Any]) -> set[str]:
    """Return the choice of each group, whose description of a key is the one to show."""
    parts = [value for value in values.values() if isinstance(value, dict)]
    return {part["name"] for part in parts if "name" in part}


def _groups(usual: dict[str, str | None], line: InUse) -> list[str]:
    lines = []
    for group in usual:
        current = line.chosen.get(group)
        names = [name for name in choices.choices(group, line.folders) if name != current]
        shown = " | ".join([str(current or "(none)"), *map(escape_control, names)])
        lines += _wrapped(f"  {group:<{GROUP_COLUMNS}} {shown}", GROUP_COLUMNS + 3)
    return lines


def _settings(keys: list[Key], values: dict[str, Any]) -> list[str]:
    """Return what is said of each key; `name` is left out, since the group's choice says it."""
    shown = [key for key in keys if not key.name.endswith(".name")]
    width = max(len(key.name) for key in shown)
    lines = []
    for key in shown:
        is_here, value = _look_up(values, key.name)
        owners = f"  only {', '.join(key.owners)}" if key.owners else ""
        current = json.dumps(value, allow_nan=False) if is_here else "-"
        said = f"{key.description} ({key.takes}){owners}"
        indent = width + VALUE_COLUMNS + 6
        if len(current) <= VALUE_COLUMNS:
            line = f"  {key.name:<{width}}  {current:<{VALUE_COLUMNS}}  {said}"
            lines += _wrapped(line, indent)
        else:  # a long value has its line for itself
            lines.append(f"  {key.name:<{width}}  {current}")
            lines += _wrapped(" " * indent + said, indent)
    return lines


def _wrapped(line: str, indent: int) -> list[str]:
    """Return a line as several that fit the page, each but the first indented by so much."""
    return textwrap.wrap(
        line,
        COLUMNS,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _look_up(values: Any, name: str) -> tuple[bool, Any]:
    """Return whether a dotted key is among these values, and its value."""
    for part in name.split("."):
        if not isinstance(values, dict) or part not in values:
            return False, None
        values = values[part]
    return True, values
