"""Output folders of `cnnlab reproduce` in which something else stands where it has its files."""

import shutil
from pathlib import Path
from typing import Any

from cnnlab.reproduction import table
from scripts.torture.strangers import KINDS, TINY, content_of, put, within_seconds

CLAIM = f"""\
sentence: The surest digits are right
source: the gate
published: "-"
published_mark: none
author_log: "-"
metric: gain_of_rejection
target: 0.1
statistic: difference
seeds: 1
differs_in: []
refuted_by: nothing
laptop:
  words: [{", ".join(TINY[1:])}]
  arms:
    - {{name: linear, factor: 1, words: []}}
  images: 30
  images_per_second: 1000
full:
  needs: nothing
"""
CODES = (0, 3, 4, 6)
"""6: a folder stands where a page is to be written."""


def attack(base: Path) -> dict[str, Any]:
    """Try every kind of thing in the place of every file of an output folder.

    Returns what `strangers.attack` returns. The runs in it are done, and are not trained again.
    """
    claims, made, outside = base / "claims", base / "made", base / "outside"
    claims.mkdir()
    (claims / "surest.yaml").write_text(CLAIM)
    outside.mkdir()
    (outside / "file").write_text("precious\n")

    words = ("reproduce", f"claims_folder={claims}", "runtime.device=cpu")
    first = within_seconds((*words, f"output={made}"))
    assert first.code == 0, first.errors
    before, tried, unclean, changed = content_of(outside), 0, [], []

    for name in _names(made):
        for kind in KINDS:
            copy = base / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            _move(made, copy)
            put(kind, copy / name, outside)
            outcome = within_seconds((*words, f"output={copy}"))
            tried += 1
            if not outcome.is_clean or outcome.code not in CODES:
                unclean.append(f"{name} as {kind}: {outcome.code}: {outcome.errors[-300:]}")
            if content_of(outside) != before:
                changed.append(f"{name} as {kind}")
                return {"tried": tried, "unclean": unclean, "changed": changed}
    return {"tried": tried, "unclean": unclean, "changed": changed}


def _names(made: Path) -> list[str]:
    """Return every file and folder of an output folder but those that its runs have of their own.

    `strangers` tries those; here the four that are read again are enough.
    """
    (run,) = (made / "runs").iterdir()
    paths = [path for path in sorted(made.rglob("*")) if run not in path.parents]
    own = [str(path.relative_to(made)) for path in paths]
    files = ("run.json", "config.yaml", "metrics.jsonl", "checkpoints")
    return [*own, *(f"runs/{run.name}/{name}" for name in files)]


def _move(made: Path, copy: Path) -> None:
    """Copy an output folder, in whose table the runs' folders stand."""
    shutil.copytree(made, copy)
    document = copy / table.NAME
    document.write_text(document.read_text().replace(str(made), str(copy)))
