"""The images to test a checkpoint on, and whether they are those that its run recorded."""

from cnnlab import data
from cnnlab.config import DatasetConfig, StoredDatasetConfig, parse_dataset
from cnnlab.config.own_parts import refuse_missing
from cnnlab.data.recorded import as_recorded
from cnnlab.data.store import Splits, Store
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.inference.network import StoredNetwork


def dataset_config(
    asked: DatasetConfig | StoredDatasetConfig, network: StoredNetwork
) -> DatasetConfig:
    """Return the set to evaluate on: the one asked for, else the one the checkpoint names."""
    if isinstance(asked, DatasetConfig):
        return asked

    refuse_missing(network.config, str(network.path), "dataset")
    try:
        stored = parse_dataset(network.config["dataset"])
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(
            "this cnnlab does not know the checkpoint's data set",
            str(network.path),
            "name one to evaluate on: dataset=NAME",
        ) from error
    return asked.applied_to(stored)


def split_of(dataset: DatasetConfig, split: str) -> Store:
    """Read the set and return one of its splits."""
    return named_split(data.build(dataset), split)


def named_split(splits: Splits, split: str) -> Store:
    """Return one of the splits. Raises DataError, which names those that exist."""
    store: Store | None = getattr(splits, split)
    if store is None:
        there = [name for name in ("test", "validation", "train") if getattr(splits, name)]
        raise DataError(
            f"{splits.train.name} has no {split} images here",
            hint=f"choose {' or '.join(f'split={name}' for name in there)}",
        )
    return store


def is_as_recorded(
    network: StoredNetwork, dataset: DatasetConfig, split: str, store: Store
) -> bool | None:
    """Return whether these are the images that the network's run recorded; None: it recorded none.

    Of another set than the run's nothing is recorded.
    """
    trained_on = network.config.get("dataset")
    if not isinstance(trained_on, dict) or trained_on.get("name") != dataset.name:
        return None
    return as_recorded(network.document, split, store)
