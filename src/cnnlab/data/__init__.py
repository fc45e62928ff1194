"""Image sets: sources (a file a format) -> Store -> stream -> augment.

Everything in front of the Store is slow, careful and runs once; everything behind it is batched.
"""

from collections.abc import Callable

from cnnlab.config import DatasetConfig
from cnnlab.data import cifar, idx, mnist5k
from cnnlab.data.store import Splits

SOURCES: dict[str, Callable[[DatasetConfig], Splits]] = {
    "mnist5k": mnist5k.load,
    "mnist": idx.load_mnist,
    "fashion_mnist": idx.load_fashion_mnist,
    "cifar10": cifar.load,
}


def build(config: DatasetConfig) -> Splits:
    """Read the set that `config.name` names. Raises DataError when it is missing or damaged."""
    return SOURCES[config.name](config)
