"""Training defaults per model: the `recipe` section of its YAML file, read by other groups.

A recipe is no setting. The defaults of other settings refer to it, `${recipe:KEY,VALUE}`, so that
the command line and experiments override it by Hydra's own rules; models without a recipe get
VALUE. An entry that depends on another choice is a table by optimizer, activation or geometry,
`{sgd: 0.01, adamw: 0.0003}`, and a choice without a row gets VALUE too, so that a learning rate
for SGD never reaches AdamW. The section is removed once everything is resolved.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

from cnnlab.config.models import MODELS
from cnnlab.config.training import OPTIMIZERS
from cnnlab.errors import UsageError

READ_BY: dict[str, str] = {
    "initialization": "model.initialization",
    "smallest_pixels": "dataset.image_size_pixels",
    "clip_gradient_norm": "trainer.clip_gradient_norm",
    "learning_rate": "optimizer.learning_rate",
}
"""Per entry of a recipe the setting whose default it is (smallest_pixels: its lower bound)."""

ROWS_ARE = ("optimizer.name", "model.activation", "model.geometry")
"""The settings whose values are rows of an entry's table; no two of them share a value."""

FINE_TUNING_FACTOR = 0.1
"""Factor of the default learning rate when training starts from `model.weights`.

The learning rates of recipes are for training from scratch and would undo what was learned.
"""


def row_in_use(value: Any, chosen: Collection[str]) -> Any:
    """Return the value of an entry for these choices, None if it has no row for them."""
    while isinstance(value, dict):
        value = next((inner for row, inner in value.items() if str(row) in chosen), None)
    return value


def take_out(plain: dict[str, Any]) -> None:
    """Remove the recipe from resolved settings, in place.

    Raises UsageError for entries and rows that nothing would ever look up.
    """
    if isinstance(model := plain.get("model"), dict) and "recipe" in model:
        _check(model.pop("recipe"), model.get("name"))


def _check(recipe: Any, model: Any) -> None:
    """Raise UsageError for an unknown entry, and for a row that no choice of the model has."""
    _refuse_unread("model.recipe", recipe, READ_BY)
    if model not in MODELS:
        return  # a plugin registers it later, or the name is refused later

    fields = dataclasses.fields(MODELS[model].config_class)
    choices = {field.name: field.metadata["choices"] for field in fields}
    rows = [*OPTIMIZERS, *choices.get("activation", ()), *choices.get("geometry", ())]
    for entry, value in recipe.items():
        _check_rows(f"model.recipe.{entry}", value, rows)


def _check_rows(where: str, value: Any, rows: Collection[str]) -> None:
    if isinstance(value, dict):
        _refuse_unread(where, value, rows)
        for row, inner in value.items():
            _check_rows(f"{where}.{row}", inner, rows)


def _refuse_unread(where: str, section: Any, known: Collection[str]) -> None:
    if not isinstance(section, dict):
        raise UsageError(f"{where} must be a mapping, got {section!r}")
    if unknown := [str(key) for key in section if str(key) not in known]:
        raise UsageError(
            f"'{where}.{unknown[0]}' is not used anywhere", hint=f"{where} has: {', '.join(known)}"
        )
