"""Settings of test-time views, and the table of them."""

from dataclasses import dataclass

from cnnlab.config.bounds import MOST_PIXELS
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table


@dataclass(kw_only=True)
class EvaluationConfig:
    """The central crop of each image, as in validation."""

    name: str = setting("views of an image whose probabilities are averaged")


@dataclass(kw_only=True)
class CroppedEvaluationConfig(EvaluationConfig):
    """Several crops of each image; ten_view adds their reflections."""

    padding_pixels: int | None = setting(
        "black border added before cropping; null: as in training",
        at_least=0,
        at_most=MOST_PIXELS,
    )


@dataclass(frozen=True)
class ViewsChoice(Choice):
    """Views of an image. is_mirrored: each crop of the reflected image is shown as well."""

    is_mirrored: bool = False


EVALUATIONS = Table(
    "evaluation",
    EvaluationConfig,
    {
        "center": ViewsChoice(EvaluationConfig, "cnnlab.evaluation.views:center_corners"),
        "five_crop": ViewsChoice(CroppedEvaluationConfig, "cnnlab.evaluation.views:five_corners"),
        "ten_view": ViewsChoice(
            CroppedEvaluationConfig, "cnnlab.evaluation.views:five_corners", is_mirrored=True
        ),
        "grid_3x3": ViewsChoice(CroppedEvaluationConfig, "cnnlab.evaluation.views:grid_corners"),
    },
)
"""Builders: (height, width, side of the crop) -> rows and columns of the crops' top left pixels."""
