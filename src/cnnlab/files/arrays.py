"""Arrays of a folder that may be a stranger's: regular files of the kind that was written."""

import tokenize
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from cnnlab.errors import DataError
from cnnlab.files import regular
from cnnlab.safe_output import escape_control

NOT_AN_ARRAY = (
    *(ValueError, TypeError, KeyError, AttributeError, EOFError, SyntaxError, OverflowError),
    *(RuntimeError, MemoryError, tokenize.TokenError),
)
"""What numpy raises for a .npy header that is not as it was written."""


def load(path: Path, kind: DTypeLike, shape: tuple[int | None, ...], hint: str) -> np.ndarray:
    """Return a .npy file mapped into memory, read-only; nothing in it is unpickled.

    kind: of its numbers. shape: None for a length that may be any. hint: what to do about another
    one. Raises DataError for another kind or shape, and for a file that is missing or no array,
    CheckpointError for a link, a pipe or the like.
    """
    regular.check_file(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, found) for found, wanted in zip(array.shape, shape, strict=True)
        )
        if not isinstance(array, np.ndarray) or array.dtype != kind or not fits:
            raise ValueError(f"{array.dtype} of shape {array.shape}")
    except (*NOT_AN_ARRAY, FileNotFoundError) as error:
        found = escape_control(str(error))[:100]
        where = escape_control(str(path))
        raise DataError(f"not the array that was written ({found})", where, hint) from error
    return array
