"""Print where the profiles `paper` and `source` of the 2012 network differ, as a Markdown table.

    python scripts/profile_table.py

docs/papers.md contains the output; a test compares the two.
"""

from typing import Any

from hydra import compose, initialize_config_dir

from cnnlab.command.composing import settle
from cnnlab.config import choices

PROFILES = ("alexnet_2012_paper", "alexnet_2012_source")


def settings(experiment: str) -> dict[str, Any]:
    """Return the settings of an experiment by their dotted keys."""
    with initialize_config_dir(str(choices.configs_folder()), version_base="1.3"):
        return flat(settle(compose("train", [f"experiment={experiment}"])))


def flat(plain: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one dict, keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        found.update(inner)
    return found


def table() -> str:
    """Return one row per differing setting; a dash where a profile lacks it."""
    paper, source = map(settings, PROFILES)
    keys = [key for key in {**paper, **source} if paper.get(key) != source.get(key)]
    rows = [f"| `{key}` | {paper.get(key, '-')} | {source.get(key, '-')} |" for key in keys]
    return "\n".join(["| setting | paper | source |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
