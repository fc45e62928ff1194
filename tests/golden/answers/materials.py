"""Pictures, folders and files that the commands are given, drawn by seeded generators.

Each maker works in the current folder.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

RUN = Path("runs/lenet5")


def pictures() -> None:
    """Draw five pictures, gray and color, small and large, as PNG and JPEG, in pictures/."""
    folder = Path("pictures")
    folder.mkdir()
    drawing = np.random.default_rng(1)
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = 255
    Image.fromarray(digit).save(folder / "one.png")
    Image.fromarray(drawing.integers(0, 256, (28, 28), dtype=np.uint8)).save(folder / "noise.png")
    Image.fromarray(255 - _stripes(drawing, 90, 70)).save(folder / "paper.jpg", quality=90)
    Image.fromarray(_stripes(drawing, 64, 64)).save(folder / "color.png")
    Image.fromarray(_stripes(drawing, 50, 120)).save(folder / "wide.jpg", quality=90)


def photos() -> None:
    """Draw three classes of color pictures of several sizes: photos/{train,test}/CLASS/*."""
    for split, count in (("train", 12), ("test", 4)):
        for number, name in enumerate(("bird", "cat", "ship")):
            folder = Path("photos") / split / name
            folder.mkdir(parents=True)
            drawing = np.random.default_rng((number, count))
            for k in range(count):
                height, width = (int(side) for side in drawing.integers(40, 60, 2))
                ending = ("png", "jpg")[k % 2]
                _save(_stripes(drawing, height, width), folder / f"{name}_{k:02d}.{ending}")


def _save(pixels: np.ndarray, path: Path) -> None:
    options = {"quality": 90} if path.suffix == ".jpg" else {}
    Image.fromarray(pixels).save(path, **options)


def _stripes(drawing: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return uint8 [height, width, 3]: waves of a drawn direction and color, with some noise."""
    rows, columns = np.mgrid[:height, :width]
    slopes = drawing.uniform(0.05, 0.6, (2, 3))
    waves = 127 + 100 * np.sin(rows[..., None] * slopes[0] + columns[..., None] * slopes[1])
    return np.clip(waves + drawing.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


def torchvision_weights() -> None:
    """Save torchvision's AlexNet of three classes with drawn weights, as a script might."""
    import torch
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.alexnet(weights=None, num_classes=3)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "torchvision.pth")


def class_names() -> None:
    """Write names for three classes."""
    Path("names.txt").write_text("bird\ncat\nship\n", encoding="utf-8")


def copied_run() -> None:
    """Copy the LeNet-5 run, for commands that write into a run folder."""
    shutil.copytree(RUN, "runs/copied")


def outputs() -> None:
    """Lay two finished runs and one that failed into outputs/, where `latest` looks."""
    for second, status in enumerate(("done", "failed", "done")):
        folder = Path(f"outputs/2026-01-01/00-00-0{second}_lenet5_mnist5k")
        shutil.copytree(RUN, folder)
        facts = json.loads((folder / "run.json").read_text())
        facts |= {"status": status, "started": f"2026-01-01T00:00:0{second}.000+00:00"}
        (folder / "run.json").write_text(json.dumps(facts))


def bad_files() -> None:
    """Damage a checkpoint in several ways, and write files that are none."""
    folder = Path("bad")
    (folder / "empty").mkdir(parents=True)
    best = (RUN / "checkpoints" / "best.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(best[: len(best) // 2])
    (folder / "flipped.safetensors").write_bytes(best[:-1] + bytes([best[-1] ^ 1]))
    (folder / "nothing.safetensors").write_bytes(b"")
    (folder / "words.safetensors").write_text("these are words")
    (folder / "words.png").write_text("these are words")
    (folder / "words.pth").write_text("these are words")
    store = folder / "store"
    shutil.copytree("stores/uint8", store)
    shard = next(iter(sorted(store.glob("test*.npy"))))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")


MAKERS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        pictures,
        photos,
        torchvision_weights,
        class_names,
        copied_run,
        outputs,
        bad_files,
    )
}
