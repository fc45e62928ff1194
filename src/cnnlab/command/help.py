"""`cnnlab --help` and `cnnlab VERB --help`, from the dataclasses and the YAML files alone."""

import json
from collections.abc import Sequence
from typing import Any

from cnnlab import __version__
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from cnnlab.config.keys import Key, walk
from cnnlab.config.schema import Variants

EVERYWHERE = """\
everywhere:
  key=value            no spaces around =; lists as [1,2]; quote for the shell what it would eat
  -m key=1,2,3         a sweep: one run for each value, for each combination of several keys
  --cfg job            print the composed settings and stop
  --config-dir FOLDER  YAML files of your own beside the built-in ones
  hydra.run.dir=FOLDER the run folder, made for this run"""


def overview() -> str:
    """Return what `cnnlab --help` prints."""
    width = max(map(len, VERBS))
    commands = [f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            f"cnnlab {__version__}: LeNet and AlexNet, trained, tested and looked into",
            "usage: cnnlab COMMAND [key=value ...]",
            "",
            *commands,
            "",
            "settings of a command: cnnlab COMMAND --help",
        ]
    )


def describe(name: str, words: Sequence[str]) -> str:
    """Return what `cnnlab VERB --help` prints; group choices among the words are respected."""
    verb, usual = VERBS[name], choices.groups(name)
    chosen = {key: value for key, _, value in (word.partition("=") for word in words)}
    values = choices.defaults(name, chosen)
    lines = [f"cnnlab {name}: {verb.help}", f"usage: cnnlab {name} [key=value ...]"]
    lines += [f"example: {verb.example}", ""]
    if usual:
        lines += [
            "groups (GROUP=CHOICE; the first is the one in use):",
            *_groups(usual, chosen),
            "",
        ]
    known = walk(verb.config_class, _in_use_first(verb.variants, values))
    keys = [key for key in known if verb.uses(key.name)]
    lines += ["settings (key, value in use, meaning, what it takes):", *_settings(keys, values)]
    return "\n".join([*lines, "", EVERYWHERE])


def _in_use_first(variants: Variants, values: dict[str, Any]) -> Variants:
    """Reorder each table so that a key is described as the choice in use describes it."""
    names = {
        value["name"] for value in values.values() if isinstance(value, dict) and "name" in value
    }
    return {
        shape: dict(sorted(table.items(), key=lambda item: item[0] not in names))
        for shape, table in variants.items()
    }


def _groups(usual: dict[str, str | None], chosen: dict[str, str]) -> list[str]:
    lines = []
    for group, default in usual.items():
        current = chosen.get(group, default)
        names = [name for name in choices.choices(group) if name != current]
        first = [str(current)] if current else ["(none)"]
        lines.append(f"  {group:<11} {' | '.join(first + names)}")
    return lines


def _settings(keys: list[Key], values: dict[str, Any]) -> list[str]:
    """Return a line a key; `name` is left out, since the group's choice says it."""
    shown = [key for key in keys if not key.name.endswith(".name")]
    width = max(len(key.name) for key in shown)
    lines = []
    for key in shown:
        is_here, value = _look_up(values, key.name)
        owners = f"  only {', '.join(key.owners)}" if key.owners else ""
        current = json.dumps(value, allow_nan=False) if is_here else "-"
        lines.append(
            f"  {key.name:<{width}}  {current:<11}  {key.description} ({key.takes}){owners}"
        )
    return lines


def _look_up(values: Any, name: str) -> tuple[bool, Any]:
    """Return whether a dotted key is among these values, and its value."""
    for part in name.split("."):
        if not isinstance(values, dict) or part not in values:
            return False, None
        values = values[part]
    return True, values
