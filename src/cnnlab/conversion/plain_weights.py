"""Plain safetensors as `convert output=FILE.safetensors` writes them, and the way back.

Beside the weights, under cnnlab's names, stands what a reader needs, as text: the model, the sizes
of its task, the class names, and how images are prepared. Nothing of it is more than plain data.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab import checkpoint
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import parse_model, to_plain
from cnnlab.conversion.foreign_weights import read_safetensors
from cnnlab.errors import CheckpointError
from cnnlab.files import foreign
from cnnlab.inference.network import StoredNetwork
from cnnlab.printable import printable

PREFIX = foreign.OWN_METADATA


def metadata(stored: StoredNetwork) -> dict[str, str]:
    """Return what a reader needs beside the weights, as text."""
    facts: dict[str, Any] = {
        "class_names": list(stored.class_names),
        "model": to_plain(parse_model(stored.config["model"])),
        "input": stored.document["input"],
    }
    return {f"{PREFIX}{name}": json.dumps(value, allow_nan=False) for name, value in facts.items()}


def whole_metadata(stored: StoredNetwork) -> dict[str, str]:
    """Return what `read` needs: `metadata`, the sizes, and the numbers that images are taken by.

    A mean image takes some megabytes of text.
    """
    seen = stored.preprocessing
    facts = {
        "sizes": stored.document["model"],
        "mean": seen.mean.cpu().tolist(),
        "std": seen.std.cpu().tolist(),
    }
    texts = {name: json.dumps(fact, allow_nan=False) for name, fact in facts.items()}
    return metadata(stored) | {f"{PREFIX}{name}": text for name, text in texts.items()}


def read(path: str | Path, sections: Mapping[str, Any] | None = None) -> Checkpoint:
    """Return what evaluation and training read of a checkpoint; the run itself is not told.

    sections: of a config, beside its model. Raises CheckpointError for a file that is damaged, or
    was written by a cnnlab that did not put the mean and deviation of the images into it.
    """
    where = printable(str(path))
    given = foreign.metadata_of(path)
    if f"{PREFIX}mean" not in given:
        raise CheckpointError(
            "the file lacks the mean and deviation of its images, and cannot be used alone",
            where,
            "convert the checkpoint again: cnnlab convert source=RUN output=FILE.safetensors",
        )

    try:
        facts = {name.removeprefix(PREFIX): json.loads(text) for name, text in given.items()}
        tensors: dict[str, Tensor] = {
            "input.mean": torch.tensor(facts["mean"], dtype=torch.float32),
            "input.std": torch.tensor(facts["std"], dtype=torch.float32),
        }
        document = {
            "config": {"model": facts["model"], **(sections or {})},
            "class_names": [str(name) for name in facts["class_names"]],
            "model": facts["sizes"],
            "input": facts["input"],
            "converted_from": printable(Path(path).name),
            "metrics": {},
        }
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        reason = printable(str(error))[:200]
        raise CheckpointError("the file's description is damaged", where, reason) from error

    tensors |= {f"model.{name}": tensor for name, tensor in read_safetensors(path).items()}
    for name, tensor in tensors.items():
        if not checkpoint.is_finite(tensor):
            raise CheckpointError(f"{printable(name)} holds values that are not finite", where)
    return Checkpoint(tensors, document)
