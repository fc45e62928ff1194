"""Read files of torch.save from elsewhere with `weights_only=True`: tensors, never code.

Training programs save their settings along with the weights. The few classes that such settings use
are replaced by one that does nothing: neither are their modules imported nor their functions
called. A file that asks for anything else is refused.
"""

import warnings
from pathlib import Path
from typing import Any

import torch

from cnnlab.errors import CheckpointError
from cnnlab.files import foreign
from cnnlab.safe_output import escape_control


class Inert:
    """Placeholder for an object that is not a weight; ignores its arguments and state."""

    def __init__(self, *_: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


PLACEHOLDER_CLASSES: list[Any] = [
    (Inert, "argparse.Namespace"),
    (Inert, "pathlib.PosixPath"),
    (Inert, "pathlib.WindowsPath"),
    (Inert, "pathlib._local.PosixPath"),
    (Inert, "pathlib._local.WindowsPath"),
    (Inert, "numpy.dtype"),
    (Inert, "numpy.core.multiarray.scalar"),
    (Inert, "numpy._core.multiarray.scalar"),
    (dict, "lightning.fabric.utilities.data.AttributeDict"),
    (dict, "lightning_fabric.utilities.data.AttributeDict"),
    (dict, "pytorch_lightning.utilities.parsing.AttributeDict"),
]
"""Classes in the settings that are saved with the weights: argparse (torchvision's references),
paths, numpy scalars, Lightning's hyperparameters."""


def load_tensors(path: str | Path) -> Any:
    """Return the content of a torch.save file: tensors in dicts and lists, plain values, Inert.

    Raises CheckpointError for a file that is missing, compressed, damaged, or needs other classes.
    """
    where = escape_control(str(path))
    if foreign.is_larger_unpacked(path):
        raise CheckpointError(
            "the file is compressed, unlike torch's own files, and is not unpacked", where
        )

    try:
        with (
            warnings.catch_warnings(action="ignore"),
            torch.serialization.safe_globals(PLACEHOLDER_CLASSES),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the weights cannot be read: {error.strerror}", where) from error
    except Exception as error:  # damaged pickles raise whatever their bytes lead to
        raise CheckpointError(
            "not a file of plain tensors that torch.load(weights_only=True) accepts",
            where,
            foreign.pickle_warning(foreign.first_bytes(path)),
        ) from error
