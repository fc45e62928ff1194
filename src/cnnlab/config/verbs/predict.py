"""Settings of `cnnlab predict`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MANY
from cnnlab.config.checks import check_runtime, refuse_empty
from cnnlab.config.ema import stored_weights
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class PredictConfig:
    """`cnnlab predict`."""

    checkpoint: list[str] = setting("checkpoints, run folders or latest; several: an ensemble")
    images: list[str] = setting("image files, or folders of them")
    which_weights: str | None = stored_weights()
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    pictures: str = setting(
        "auto: convert photographed digits to MNIST's format; as_is: never",
        choices=("auto", "as_is"),
    )
    top: int = setting("classes to print per image", at_least=1, at_most=MANY)
    format: str = setting("output format", choices=("text", "csv", "json"))
    output: str | None = setting(
        "folder for a page of all pictures and what the network saw of them; null: none"
    )
    plugins: list[str] = setting(OWN_MODULES)


def parse_predict(plain: dict[str, Any]) -> PredictConfig:
    """Check and type what `cnnlab predict` was given."""
    config = parse(PredictConfig, plain)
    check_runtime(config.runtime)
    refuse_empty(config.checkpoint, "checkpoint", "checkpoint=PATH, a run folder, or latest")
    refuse_empty(config.images, "images", "images=FILE, images=FOLDER or several: images=[A,B]")
    return config
