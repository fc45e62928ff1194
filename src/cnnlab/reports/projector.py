"""The files of TensorBoard's tab Projector: features of images, their names, their thumbnails.

TensorBoard finds them by `projector_config.pbtxt` beside the event file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.files import atomic, regular
from cnnlab.reports.sections import png
from cnnlab.safe_output import escape_control
from cnnlab.visualization import grid

FOLDER = "projector"
MOST_FEATURES = 128
"""More are replaced by as many principal components: 4,096 features would be megabytes of text."""

THUMBNAIL_PIXELS = 32


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a layer says of N images.

    name: of the layer and the images. features: float [N,D]. thumbnails: uint8 [N,C,S,S].
    columns: the name of each column of `rows`, which has one row of text per image.
    """

    name: str
    features: Tensor
    thumbnails: Tensor
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write(folder: Path, embedding: Embedding) -> None:
    """Write the embedding below TensorBoard's folder; an earlier one is replaced.

    At most 128 numbers, a line of text and 32x32 pixels per image: 5 KB. Raises ResourceError
    where it cannot be written.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    regular.check_folder(place)

    numbers = principal_components(embedding.features.float().cpu(), MOST_FEATURES).tolist()
    sprite, side = _sprite(embedding.thumbnails)
    contents = {
        "features.tsv": _tsv([[f"{value:.5g}" for value in row] for row in numbers]).encode(),
        "names.tsv": _tsv([embedding.columns, *embedding.rows]).encode("utf-8", "replace"),
        "thumbnails.png": sprite,
    }
    for name, content in contents.items():
        atomic.write_bytes(place / name, content)
    config = _config(embedding.name, side).encode("utf-8", "replace")
    atomic.write_bytes(folder / "projector_config.pbtxt", config)


def principal_components(features: Tensor, most: int) -> Tensor:
    """Return features [N,D] as they are, or where D > most their `most` principal components.

    Distances between images stay as they are as far as so many directions hold them.
    """
    if features.shape[1] <= most:
        return features
    centered = (features - features.mean(0)).double()
    left, scales, _ = torch.linalg.svd(centered, full_matrices=False)
    return (left * scales)[:, :most]


def _sprite(images: Tensor) -> tuple[bytes, int]:
    """Return the thumbnails as one PNG, in a square of rows as TensorBoard reads it; their side."""
    small = grid.shrink(grid.pixels_to_unit(grid.to_rgb(images.cpu())), THUMBNAIL_PIXELS)
    columns = grid.square_columns(len(small))
    spare = small.new_ones(columns**2 - len(small), *small.shape[1:])
    sheet = grid.tile(torch.cat([small, spare]), columns, gap_pixels=0)
    return png((sheet * 255).round().to(torch.uint8)), small.shape[-1]


def _tsv(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of cells; tabs and line breaks in a cell are escaped."""
    return "".join("\t".join(escape_control(cell) for cell in row) + "\n" for row in rows)


def _config(name: str, side: int) -> str:
    quoted = escape_control(name).replace("\\", "\\\\").replace('"', '\\"')
    return f"""embeddings {{
  tensor_name: "{quoted}"
  tensor_path: "{FOLDER}/features.tsv"
  metadata_path: "{FOLDER}/names.tsv"
  sprite {{
    image_path: "{FOLDER}/thumbnails.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""
