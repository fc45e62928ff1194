"""What an experiment sets gives way to a choice that is typed: one rule for all groups.

`experiment=X schedule=range_test`: settings of the experiment that the typed choice has too hold
for it; those that only other choices of the group have are left out, and a line says so. What is
typed, and what an experiment sets for its own choice, is never left out.
"""

import dataclasses
import os
import typing
from typing import Any

from cnnlab.command.verbs import Verb
from cnnlab.config.schema import shapes_of
from cnnlab.config.verbs.train import IDLE_IN_A_TRIAL
from cnnlab.safe_output import say

EXPERIMENT = "experiment"
OWN_SCHEDULE = ("at_epochs", "fractions")
"""Of a parameter group: a schedule in place of the one that is chosen."""


def give_way(verb: Verb, plain: dict[str, Any], overrides: list[str]) -> list[str]:
    """Leave out, in place, what typed choices replace; return a line for each such choice.

    plain: the resolved settings of one job, unchecked. overrides: its key=value words.
    """
    typed = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
    if EXPERIMENT not in typed or plain.get("resume"):
        return []

    said = []
    for group, hint in typing.get_type_hints(verb.config_class).items():
        section, shapes = plain.get(group), shapes_of(hint) or {}
        if group not in typed or not isinstance(section, dict):
            continue
        name = section.get("name")
        if name not in shapes:
            continue
        gone = _of_others(group, section, shapes, typed)
        if getattr(shapes[name], "is_trial", False):
            gone += _idle_in_a_trial(plain, typed)
        if gone:
            of_it = f"settings of {EXPERIMENT}={typed[EXPERIMENT]}"
            said.append(f"{group}={typed[group]} replaces {of_it}: {', '.join(gone)}")
    return said


def tell(lines: list[str]) -> None:
    """Say each line once, on stderr; of several processes the first one says it."""
    for line in dict.fromkeys(lines):
        if os.environ.get("RANK", "0") == "0":
            say(line)


def _of_others(
    group: str, section: dict[str, Any], shapes: dict[str, type], typed: dict[str, str]
) -> list[str]:
    """Remove and return the keys that only other choices of the group have."""
    own = _fields(shapes[section["name"]])
    others = set().union(*map(_fields, shapes.values())) - own
    gone = [key for key in section if key in others and f"{group}.{key}" not in typed]
    for key in gone:
        del section[key]
    return [f"{group}.{key}" for key in gone]


def _idle_in_a_trial(plain: dict[str, Any], typed: dict[str, str]) -> list[str]:
    """Take back, and return, what a run that only tries rates has no use for."""
    gone = []
    for key, idle in IDLE_IN_A_TRIAL.items():
        section, _, last = key.partition(".")
        values = plain.get(section)
        if key not in typed and isinstance(values, dict) and values.get(last, idle) != idle:
            values[last] = idle
            gone.append(key)
    return gone + _own_schedules(plain, typed)


def _own_schedules(plain: dict[str, Any], typed: dict[str, str]) -> list[str]:
    """Let all parameters have the schedule's rates; a group that then changes nothing is gone."""
    rule = plain.get("optimizer")
    groups = rule.get("groups") if isinstance(rule, dict) else None
    if rule is None or "optimizer.groups" in typed or not isinstance(groups, list):
        return []
    if not any(isinstance(one, dict) and one.get("at_epochs") is not None for one in groups):
        return []

    left = [{key: one[key] for key in one if key not in OWN_SCHEDULE} for one in groups]
    changing = ("rate_factor", "weight_decay")
    rule["groups"] = [one for one in left if any(one.get(key) is not None for key in changing)]
    return ["the schedules of optimizer.groups"]


def _fields(shape: type) -> set[str]:
    return {field.name for field in dataclasses.fields(shape)}
