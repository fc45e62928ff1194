"""Print where the profiles of the 2012 network differ, paper and source, as a Markdown table.

    python scripts/profile_table.py

docs/papers.md contains the output; a test compares the two.
"""

from typing import Any

from hydra import compose, initialize_config_dir

from cnnlab.command.composing import settle
from cnnlab.config import choices, flat, parse_train
from cnnlab.config.parameter_groups import ParameterGroupConfig

PROFILES = ("alexnet_2012_paper", "alexnet_2012_source", "alexnet_2010_source")


def settings(experiment: str) -> dict[str, Any]:
    """Return the settings of an experiment by their dotted keys, parameter groups in words."""
    with initialize_config_dir(str(choices.configs_folder()), version_base="1.3"):
        plain = settle(compose("train", [f"experiment={experiment}"]))
    return flat(plain) | {"optimizer.groups": _in_words(parse_train(plain).optimizer.groups)}


def _in_words(groups: list[ParameterGroupConfig]) -> str:
    return "; ".join(group.summary for group in groups) or "none"


def table() -> str:
    """Return one row per differing setting; a dash where a profile lacks it."""
    columns = [settings(name) for name in PROFILES]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [(key, [column.get(key, "-") for column in columns]) for key in keys]
    lines = [
        f"| `{key}` | {' | '.join(map(str, values))} |"
        for key, values in rows
        if any(value != values[0] for value in values)
    ]
    return "\n".join([f"| setting | {' | '.join(PROFILES)} |", "|---|---|---|---|", *lines])


if __name__ == "__main__":
    print(table())
