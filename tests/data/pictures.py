"""Write small folders of pictures, as real files."""

from pathlib import Path

import numpy as np
from PIL import Image


def smooth_picture(seed: int, width: int = 60, height: int = 48) -> Image.Image:
    """A few coloured clouds: JPEG compresses them as it does photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_classes(folder: Path, num_classes: int = 4, each: int = 16, seed: int = 0) -> Path:
    """Write folder/class_k/*.jpg of varying sizes; return the folder."""
    for label in range(num_classes):
        (folder / f"class_{label}").mkdir(parents=True)
        for item in range(each):
            number = seed + 1000 * label + item
            picture = smooth_picture(number, 40 + number % 30, 64 - number % 20)
            picture.save(folder / f"class_{label}" / f"{item:04d}.jpg", quality=90)
    return folder


def write_train_and_test(root: Path, each: int = 16) -> Path:
    write_classes(root / "train", each=each)
    write_classes(root / "test", each=4, seed=500)
    return root
