"""JPEGs like ImageNet's, about 500x375 pixels, cut out of photographs on this machine.

Noise compresses badly and drawings too well, so real photographs are needed, such as those in
Debian's wallpapers (apt install lomiri-wallpapers-20.04 lomiri-wallpapers-16.04).
"""

import random
from pathlib import Path

from PIL import Image

FOLDERS = (Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers"))
NUM_CLASSES = 10


def find_photographs(folders: tuple[Path, ...] = FOLDERS) -> list[Path]:
    """Return the JPEGs in the folders. Raises SystemExit when there are none."""
    found = sorted(path for folder in folders for path in folder.rglob("*.jpg") if path.is_file())
    if not found:
        raise SystemExit(f"no photographs in {', '.join(map(str, folders))}; {__doc__}")
    return found


def write_photographs(root: Path, num_images: int, seed: int = 0) -> Path:
    """Write root/train/CLASS/*.jpg and a small root/test, unless they exist already."""
    if (root / "done").is_file():
        return root
    draw = random.Random(seed)
    pictures = [Image.open(path).convert("RGB") for path in find_photographs()]
    pictures = [picture for picture in pictures if min(picture.size) >= 700]

    for number in range(num_images + 2 * NUM_CLASSES):
        split = "train" if number < num_images else "test"
        folder = root / split / f"class_{number % NUM_CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        _cut(draw.choice(pictures), draw).save(
            folder / f"{number:06d}.jpg", quality=draw.choice((90, 92, 95, 96))
        )

    (root / "done").touch()  # last: an interrupted set is written again
    return root


def _cut(picture: Image.Image, draw: random.Random) -> Image.Image:
    """Cut a window and shrink it to about 500x375, one in four of them upright."""
    width, height = draw.choice(((500, 375), (500, 375), (500, 333), (375, 500)))
    factor = draw.uniform(1.0, min(picture.width / width, picture.height / height, 3.0))
    wide, high = int(width * factor), int(height * factor)
    left, top = draw.randint(0, picture.width - wide), draw.randint(0, picture.height - high)
    window = picture.crop((left, top, left + wide, top + high))
    return window.resize((width, height), Image.Resampling.LANCZOS)
