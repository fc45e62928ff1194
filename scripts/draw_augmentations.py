"""Draw what each augmentation does to a digit and to a photograph, for docs/data.md.

python scripts/draw_augmentations.py docs/images/augmentations.png
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from cnnlab import data
from cnnlab.config import DatasetConfig, choices
from cnnlab.config.augment import AugmentConfig
from cnnlab.config.schema import parse
from cnnlab.data.augment import Augmentation, build_augment
from cnnlab.data.decode import read_image
from cnnlab.data.moments import Sums
from cnnlab.images import pad, resize, resize_shorter_side
from cnnlab.runtime import make_generator

TILE, GAP, LABEL, STEPS = 72, 4, 150, 8
ROWS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("digit", "crop", {"padding_pixels": 4}),
    ("digit", "affine", {}),
    ("photograph", "crop", {"padding_pixels": 0, "crop_pixels": 56}),
    ("photograph", "crop_mirror", {"padding_pixels": 8}),
    ("photograph", "alexnet", {"crop_pixels": 56, "color_scale": "none"}),
    ("photograph", "alexnet", {"crop_pixels": 56, "color_scale": "stdev"}),
    ("photograph", "alexnet", {"crop_pixels": 56, "color_scale": "eigenvalue"}),
    ("photograph", "resized_crop", {"crop_pixels": 56}),
    ("permuted", "none", {}),
)


def dataset(name: str, **changes: object) -> DatasetConfig:
    """Return the settings of a dataset with changes."""
    plain = choices.alone("dataset", name)
    return parse(DatasetConfig, {**plain, **changes})


def augmentation(name: str, changes: dict[str, Any], sums: Sums) -> Augmentation:
    """Return an augmentation with changed settings; `sums` are of the photograph."""
    plain = choices.alone("augment", name)
    config = parse(AugmentConfig, {**plain, **changes})
    return build_augment(config, mirror_allowed=True, statistics=sums.statistics)


def photograph() -> Tensor:
    """Return uint8 [1,3,64,64]: Grace Hopper by the US Navy, public domain, out of matplotlib."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return resize_shorter_side(read_image(path, 3)[None], 64)


def tile(image: Tensor) -> Image.Image:
    """Return [1,C,h,w] pixel levels as a tile; values outside of 0..255 are clipped."""
    levels = image.float().round().clamp(0, 255).to(torch.uint8)
    square = resize(levels, TILE)[0].expand(3, -1, -1)
    return Image.fromarray(square.permute(1, 2, 0).numpy())


def draw(path: Path, picture: Tensor) -> None:
    """Write one row per augmentation: the original, then STEPS draws of it."""
    plain, moved = data.load(dataset("mnist5k")), data.build(dataset("mnist5k", permutation_seed=0))
    index = torch.tensor([2000])
    pictures = {
        "digit": pad(plain.train.read(index).permute(0, 3, 1, 2), 2),
        "permuted": torch.cat([moved.train.read(torch.arange(0, 3500, 440)).permute(0, 3, 1, 2)]),
        "photograph": picture,
    }

    sums = Sums.empty((64, 64, 3))
    sums.add(picture.permute(0, 2, 3, 1))

    width, height = LABEL + (STEPS + 1) * (TILE + GAP), len(ROWS) * (TILE + GAP)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)

    for row, (kind, name, changes) in enumerate(ROWS):
        augment, top = augmentation(name, changes, sums), row * (TILE + GAP)
        settings = [f"{key.removesuffix('_pixels')}={value}" for key, value in changes.items()]
        words = [kind, name, *settings]
        pen.multiline_text((2, top + 4), "\n".join(words), "black")

        for step in range(-1, STEPS):
            shown = pictures[kind][max(step, 0) % len(pictures[kind])][None]
            if step >= 0:
                generator = make_generator(0, "augment", step)
                shown = augment.apply(shown, augment.draw(1, shown.shape[-1], generator))
            sheet.paste(tile(shown), (LABEL + (step + 1) * (TILE + GAP), top))

    sheet.quantize(200).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), photograph())
