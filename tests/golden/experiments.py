"""The settings of every experiment as plain values, and how to write them.

`python -m tests.golden.experiments` adds to tests/golden/experiments.json the experiments that it
lacks, from the repository root. What it has stays: tests/config/test_experiments.py lists what was
changed on purpose since then.
"""

import json
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from cnnlab.command.composing import parse
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices, to_plain

FILE = Path(__file__).with_suffix(".json")


def composed(experiment: str) -> dict[str, Any]:
    """Return what `cnnlab train experiment=NAME` trains with, every setting resolved."""
    word = f"experiment={experiment}"
    with initialize_config_dir(str(choices.configs_folder()), version_base="1.3"):
        return to_plain(parse(VERBS["train"], compose("train", [word]), [word]))


def main() -> None:
    """Add what is missing."""
    held = json.loads(FILE.read_text(encoding="utf-8"))
    missing = [name for name in choices.choices("experiment") if name not in held]
    settings = held | {name: composed(name) for name in missing}
    FILE.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
