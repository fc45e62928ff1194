"""The metadata of `convert output=FILE.safetensors`, and such a file back to a checkpoint.

Besides the weights, under keys that start with `cnnlab.`, the file holds JSON texts: the model, the
sizes of its task, the class names, and the preprocessing of images.
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
from cnnlab.safe_output import escape_control

PREFIX = foreign.OWN_METADATA


def metadata(stored: StoredNetwork) -> dict[str, str]:
    """Return class names, model and preprocessing as JSON texts, for readers of the weights."""
    facts: dict[str, Any] = {
        "class_names": list(stored.class_names),
        "model": to_plain(parse_model(stored.config["model"])),
        "input": stored.document["input"],
    }
    return {f"{PREFIX}{name}": json.dumps(value, allow_nan=False) for name, value in facts.items()}


def whole_metadata(stored: StoredNetwork) -> dict[str, str]:
    """Return what `read` needs: `metadata`, the sizes, and the images' mean and std.

    A mean image takes some megabytes of text.
    """
    preprocessing = stored.preprocessing
    facts = {
        "sizes": stored.document["model"],
        "mean": preprocessing.mean.cpu().tolist(),
        "std": preprocessing.std.cpu().tolist(),
    }
    texts = {name: json.dumps(fact, allow_nan=False) for name, fact in facts.items()}
    return metadata(stored) | {f"{PREFIX}{name}": text for name, text in texts.items()}


def read(path: str | Path, sections: Mapping[str, Any] | None = None) -> Checkpoint:
    """Return the file as a checkpoint to evaluate or train from, without a run's record.

    sections: of the config, besides its model. Raises CheckpointError for a file that is damaged,
    or was written by a version of cnnlab that left out the images' mean and standard deviation.
    """
    where = escape_control(str(path))
    given = foreign.metadata_of(path)
    if f"{PREFIX}mean" not in given:
        raise CheckpointError(
            "the file lacks the mean and standard deviation of its images",
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
            "converted_from": escape_control(Path(path).name),
            "metrics": {},
        }
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        reason = escape_control(str(error))[:200]
        raise CheckpointError("the file's description is damaged", where, reason) from error

    tensors |= {f"model.{name}": tensor for name, tensor in read_safetensors(path).items()}
    for name, tensor in tensors.items():
        if not checkpoint.is_finite(tensor):
            raise CheckpointError(f"{escape_control(name)} holds values that are not finite", where)
    return Checkpoint(tensors, document)
