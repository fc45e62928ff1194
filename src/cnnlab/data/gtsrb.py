"""gtsrb: the German Traffic Sign Recognition Benchmark; validation never splits a track.

A track is up to 30 frames of one sign from a passing car, so a split by image would put nearly
the same picture into training and validation. File names are TRACK_FRAME.ppm.
"""

import csv
import io
from dataclasses import replace
from pathlib import Path

import torch

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DATASETS, EncodedConfig
from cnnlab.data.files import FileStore, decoding_for, existing_root
from cnnlab.data.label_lists import by_name, join, read_list
from cnnlab.data.listing import Listing, join_notes, list_class_folders, list_flat
from cnnlab.data.store import Splits
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

_TRAIN_FOLDERS = ("Final_Training/Images", "Training")
_TEST_FOLDER = "Final_Test/Images"
_TEST_LABELS = "GT-final_test.csv"
LAYOUT = (
    "expected GTSRB/Final_Training/Images/00000/*.ppm, GTSRB/Final_Test/Images/*.ppm and"
    " GT-final_test.csv"
)

_NOTES = {
    39_209: "the final training set",
    26_640: "the 26,640 images of the 2011 online competition, not the final 39,209",
    12_630: "the final test set",
}

CLASS_NAMES = (
    "speed limit 20",
    "speed limit 30",
    "speed limit 50",
    "speed limit 60",
    "speed limit 70",
    "speed limit 80",
    "end of speed limit 80",
    "speed limit 100",
    "speed limit 120",
    "no overtaking",
    "no overtaking by trucks",
    "right of way at next crossing",
    "priority road",
    "give way",
    "stop",
    "no vehicles",
    "no trucks",
    "no entry",
    "danger",
    "bend left",
    "bend right",
    "double bend",
    "uneven road",
    "slippery road",
    "road narrows",
    "road works",
    "traffic lights",
    "pedestrians",
    "children",
    "bicycles",
    "snow",
    "wild animals",
    "end of restrictions",
    "turn right ahead",
    "turn left ahead",
    "ahead only",
    "ahead or right",
    "ahead or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no overtaking",
    "end of no overtaking by trucks",
)


def load(config: DatasetConfig) -> Splits:
    """Read the official folders below dataset.root. Raises DataError."""
    assert isinstance(config, EncodedConfig)
    root = existing_root(config.root, "gtsrb", LAYOUT)

    train = _train_listing(_find(root, _TRAIN_FOLDERS))
    test = _test_listing(_find(root, (_TEST_FOLDER,)), _find_labels(root))

    decoding, stores = decoding_for(config), []
    mirror_allowed = bool(DATASETS["gtsrb"].mirror_allowed)
    for split, listing in (("train", train), ("test", test)):
        note = join_notes(note_for(len(listing.paths)), listing.note())
        stores.append(FileStore("gtsrb", split, listing, decoding, mirror_allowed, note))
    return Splits(stores[0], None, stores[1])


def note_for(num_images: int) -> str:
    """Return the name of the published set with this number of images."""
    return _NOTES.get(num_images, f"{num_images} images: not a published size of this set")


def _find(root: Path, names: tuple[str, ...]) -> Path:
    candidates = [root / above / name for name in names for above in ("", "GTSRB", "gtsrb/GTSRB")]
    for folder in candidates:
        if folder.is_dir():
            return folder
    where = ", ".join(escape_control(str(folder.absolute())) for folder in candidates)
    raise DataError("the images of gtsrb were not found", f"looked in {where}", LAYOUT)


def _find_labels(root: Path) -> Path:
    for above in ("", "GTSRB", "gtsrb", "gtsrb/GTSRB", f"GTSRB/{_TEST_FOLDER}", _TEST_FOLDER):
        if (path := root / above / _TEST_LABELS).is_file():
            return path
    raise DataError(
        f"{_TEST_LABELS} was not found",
        escape_control(str(root.absolute())),
        "the labels of the test images are in a separate archive: GTSRB_Final_Test_GT.zip",
    )


def _train_listing(folder: Path) -> Listing:
    names = tuple(f"{label:05d}" for label in range(len(CLASS_NAMES)))
    listing = list_class_folders(folder, names)

    # a group per track: frames of one sign stay in one split
    tracks = [
        _track(path, label)
        for path, label in zip(listing.paths, listing.labels.tolist(), strict=True)
    ]
    return replace(listing, class_names=CLASS_NAMES, groups=torch.tensor(tracks))


def _track(path: str, label: int) -> int:
    """Return the number that all frames of a track share, and no other track has."""
    stem = Path(path).stem
    track, _, frame = stem.partition("_")
    if not (track.isdecimal() and frame.isdecimal()):
        raise DataError("a file name that is not TRACK_FRAME.ppm", escape_control(path), LAYOUT)
    return label * 100_000 + int(track)


def _test_listing(folder: Path, labels_path: Path) -> Listing:
    """Label the test images by the published list; files and rows must be the same names."""
    names, left_out = list_flat(folder)
    labels = join(names, _read_labels(labels_path), labels_path)
    return Listing(folder, names, torch.tensor(labels), CLASS_NAMES, left_out=left_out)


def _read_labels(path: Path) -> dict[str, int]:
    """Return file name -> class of lines such as 00000.ppm;53;54;6;5;48;49;16."""
    rows = csv.DictReader(io.StringIO(read_list(path)), delimiter=";")
    try:
        return by_name([(row["Filename"], int(row["ClassId"])) for row in rows], path)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            "a label list without Filename and ClassId",
            escape_control(str(path)),
            "expected the list of GTSRB_Final_Test_GT.zip, with semicolons",
        ) from error
