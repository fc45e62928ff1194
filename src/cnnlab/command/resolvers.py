"""`${recipe:ENTRY,OTHERWISE}` and `${at_least:A,B}` in YAML files, known while cnnlab reads them.

OmegaConf has one table of resolvers for the whole process. A program that calls cnnlab may have its
own `recipe`, or register one later, and Hydra replaces `now` and others: all are put back.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from hydra.core.utils import setup_globals
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from cnnlab.config import recipes


@contextlib.contextmanager
def known() -> Iterator[None]:
    """Let configs refer to recipes in the block, and leave OmegaConf's resolvers as they were."""
    table = BaseContainer._resolvers
    before = dict(table)
    try:
        setup_globals()  # Hydra's own: now, hydra
        OmegaConf.register_new_resolver("recipe", _look_up, replace=True)
        OmegaConf.register_new_resolver("at_least", max, replace=True)
        yield
    finally:
        table.clear()
        table.update(before)


def _look_up(entry: str, otherwise: Any, *, _root_: Any) -> Any:
    """Resolve `${recipe:ENTRY,OTHERWISE}` by the recipe of the selected model."""
    value = OmegaConf.select(_root_, f"model.recipe.{entry}")
    if OmegaConf.is_dict(value):
        value = OmegaConf.to_container(value)
    chosen = {str(OmegaConf.select(_root_, key)) for key in recipes.ROWS_ARE}
    found = recipes.row_in_use(value, chosen)
    found = otherwise if found is None else found

    is_fine_tuning = OmegaConf.select(_root_, "model.weights") is not None
    if entry == "learning_rate" and is_fine_tuning:
        return float(f"{found * recipes.FINE_TUNING_FACTOR:.9g}")  # 0.01, not 0.010000000000000002
    return found
