"""Write small folders of pictures, as real files."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def smooth_picture(seed: int, width: int = 60, height: int = 48) -> Image.Image:
    """A few colored clouds: JPEG compresses them as it does photographs."""
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


def write_gtsrb(root: Path, tracks_each: int = 2, frames: int = 5, online: bool = False) -> Path:
    """Write the official folders: 43 classes of tracks as PPM, a flat test folder and its list."""
    folder = root / "GTSRB" / ("Training" if online else "Final_Training/Images")
    for label in range(43):
        (folder / f"{label:05d}").mkdir(parents=True)
        rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
        for track in range(tracks_each):
            for frame in range(frames):
                name = f"{track:05d}_{frame:05d}.ppm"
                picture = smooth_picture(label * 100 + track, 28 + frame, 27 + frame)
                picture.save(folder / f"{label:05d}" / name)
                rows.append(f"{name};{28 + frame};{27 + frame};5;5;20;20;{label}")
        (folder / f"{label:05d}" / f"GT-{label:05d}.csv").write_text("\n".join(rows) + "\n")
    test = root / "GTSRB" / "Final_Test" / "Images"
    test.mkdir(parents=True)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for item in range(43):
        smooth_picture(item, 30, 32).save(test / f"{item:05d}.ppm")
        rows.append(f"{item:05d}.ppm;30;32;5;5;25;27;{42 - item}")
    (root / "GT-final_test.csv").write_text("\n".join(rows) + "\n")
    return root


SYNSETS = ("n01440764", "n01443537", "n02105855", "n15075141")
"""Sorted, as training folders sort; the challenge numbers them otherwise."""
CHALLENGE_NUMBERS = {1: "n02105855", 2: "n15075141", 3: "n01440764", 4: "n01443537"}


def write_imagenet(root: Path, num_val: int = 8, val_layout: str = "folders") -> Path:
    """Write train/SYNSET/*.JPEG and val/, in folders or flat; val image k shows class k % 4."""
    for label, synset in enumerate(SYNSETS):
        (root / "train" / synset).mkdir(parents=True)
        for item in range(6):
            picture = smooth_picture(10 * label + item, 60 + item, 48)
            picture.save(root / "train" / synset / f"{synset}_{item}.JPEG", "JPEG")
    for item in range(num_val):
        synset = SYNSETS[item % 4]
        folder = root / "val" / (synset if val_layout == "folders" else "")
        folder.mkdir(parents=True, exist_ok=True)
        picture = smooth_picture(900 + item)
        picture.save(folder / f"ILSVRC2012_val_{item + 1:08d}.JPEG", "JPEG")
    return root


def matlab_element(kind: int, content: bytes) -> bytes:
    if 0 < len(content) <= 4:
        return struct.pack("<HH", kind, len(content)) + content.ljust(4, b"\0")
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matlab_matrix(
    class_number: int, dimensions: tuple[int, int], *parts: bytes, name: bytes = b""
) -> bytes:
    head = matlab_element(6, struct.pack("<II", class_number, 0))
    head += matlab_element(5, struct.pack("<ii", *dimensions)) + matlab_element(1, name)
    return matlab_element(14, head + b"".join(parts))


def write_devkit(root: Path, id_field: str = "ILSVRC2012_ID") -> Path:
    """Write data/meta.mat as the devkit has it: a compressed struct array of synsets."""
    fields = [id_field, "WNID", "words"]
    names = b"".join(name.encode().ljust(32, b"\0") for name in fields)
    parts = [matlab_element(5, struct.pack("<i", 32)), matlab_element(1, names)]
    for number, synset in CHALLENGE_NUMBERS.items():
        parts.append(matlab_matrix(6, (1, 1), matlab_element(9, struct.pack("<d", number))))
        for text in (synset, f"words of {synset}"):
            codes = text.encode("utf-16-le")
            parts.append(matlab_matrix(4, (1, len(text)), matlab_element(4, codes)))
    table = matlab_matrix(2, (len(CHALLENGE_NUMBERS), 1), *parts, name=b"synsets")
    packed = zlib.compress(table)
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (root / "data").mkdir()
    (root / "data" / "meta.mat").write_bytes(content + struct.pack("<II", 15, len(packed)) + packed)
    return root
