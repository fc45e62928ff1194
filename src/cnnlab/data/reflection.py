"""Whether reflected images keep their class, from a set's settings alone: no image is read."""

import contextlib
from pathlib import Path
from typing import Any

from cnnlab.config.data import DATASETS
from cnnlab.data import manifest
from cnnlab.errors import CnnlabError


def is_mirror_allowed(dataset: dict[str, Any]) -> bool | None:
    """Return whether a reflected image keeps its class; None where that is unknown.

    dataset: the plain section of a config. A Store's manifest comes first, if it is here.
    """
    if dataset.get("permutation_seed") is not None:
        return False

    with contextlib.suppress(CnnlabError, OSError):
        if dataset.get("root"):
            return manifest.read(Path(str(dataset["root"]))).mirror_allowed

    if "mirror_allowed" in dataset:
        return bool(dataset["mirror_allowed"])
    row = DATASETS.get(str(dataset.get("name")))
    return None if row is None else row.mirror_allowed
