"""Inspect a data set: counts, classes and digests, or what is missing and where."""

from typing import Any

from cnnlab import data
from cnnlab.config import DatasetConfig
from cnnlab.errors import CnnlabError


def inspect(config: DatasetConfig) -> dict[str, Any]:
    """Return plain facts about a set as it is now; a missing set raises nothing.

    Present: num_train, num_validation, num_test, image_shape, class_names and the digest of each
    split. Missing: the message of the error that training would end with.
    """
    try:
        splits = data.build(config)
    except CnnlabError as error:
        return {"present": False, "missing": str(error)}

    stores = splits.stores()
    return {
        "present": True,
        **{f"num_{name}": len(store) for name, store in stores.items()},
        "image_shape": list(splits.train.image_shape),
        "class_names": list(splits.train.class_names),
        "digests": {name: store.digest for name, store in stores.items()},
    }
