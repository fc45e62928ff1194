"""torch's files of other people, read with `weights_only=True`: tensors, and nothing that runs.

Training programs save their settings beside the weights. The few classes that such settings are
made of are replaced by one that does nothing: neither their modules are imported nor their
functions called. Whatever else a file asks for refuses the file.
"""

import warnings
from pathlib import Path
from typing import Any

import torch

from cnnlab.errors import CheckpointError
from cnnlab.files import foreign
from cnnlab.printable import printable


class Inert:
    """Stands for an object beside the weights; takes whatever it is given and keeps none of it."""

    def __init__(self, *_: object) -> None:
        """Keep nothing."""

    def __setstate__(self, state: object) -> None:
        """Keep nothing."""


STAND_INS: list[Any] = [
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
"""What the settings beside the weights are made of: argparse (torchvision's references), paths,
numpy's single numbers, Lightning's hyperparameters."""


def load_tensors(path: str | Path) -> Any:
    """Return what a file of torch.save holds: tensors in dicts and lists, plain values, Inert.

    Raises CheckpointError for a file that is missing, compressed, damaged, or asks for more.
    """
    where = printable(str(path))
    if foreign.holds_more_than_it_is(path):
        raise CheckpointError(
            "the file is compressed, which torch's own are not, and is not unpacked", where
        )

    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the weights cannot be read: {error.strerror}", where) from error
    except Exception as error:  # damaged pickles raise whatever their bytes lead to
        raise CheckpointError(
            "not a file of plain tensors that torch.load(weights_only=True) accepts",
            where,
            foreign.asks_for(foreign.first_bytes(path)),
        ) from error
