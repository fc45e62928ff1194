"""imagenet: ILSVRC 2012 and ILSVRC 2010; with or without the devkit or class folders.

The 50,000 validation images are what papers report on, so they are the test split here, and
validation is a seeded part of training. 2010 has public labels for its 150,000 test images.
"""

import csv
import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DATASETS, EncodedConfig
from cnnlab.data.entries import read_folder
from cnnlab.data.files import FileStore, decoding_for, existing_root
from cnnlab.data.label_lists import by_name, join, read_list
from cnnlab.data.listing import Listing, first_names, list_class_folders, list_flat
from cnnlab.data.store import Splits
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

LAYOUT = "expected train/n01440764/*.JPEG and val/, with class folders or flat with a label list"


@dataclass(frozen=True)
class Edition:
    """A year of the challenge.

    test_folder: the folder that is tested on; test_split: what the devkit calls it.
    """

    name: str
    year: int
    test_folder: str
    test_split: str

    @property
    def truth_file(self) -> str:
        """The devkit's class numbers of the test images, one per line."""
        return f"ILSVRC{self.year}_{self.test_split}_ground_truth.txt"

    @property
    def id_field(self) -> str:
        """The field of meta.mat that holds the class numbers."""
        return f"ILSVRC{self.year}_ID"

    def image_name(self, number: int) -> str:
        """Return the file name of a test image, without its extension."""
        return f"ILSVRC{self.year}_{self.test_folder}_{number:08d}"


EDITION_2012 = Edition("imagenet", 2012, test_folder="val", test_split="validation")
EDITION_2010 = Edition("imagenet_2010", 2010, test_folder="test", test_split="test")

_SYNSETS_2012 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
"""SHA-256 of the 1,000 synsets of 2012, sorted, one per line."""

_MOST_META_BYTES = 16 << 20


def load(edition: Edition, config: DatasetConfig) -> Splits:
    """Return the training images and, as test, the labeled images that papers report on."""
    assert isinstance(config, EncodedConfig)
    root = existing_root(config.root, edition.name, LAYOUT)
    for folder in ("train", edition.test_folder):
        if not (root / folder).is_dir():
            where = escape_control(str((root / folder).absolute()))
            raise DataError(f"the images of {edition.name} were not found", where, LAYOUT)

    train = list_class_folders(root / "train")
    _check_edition(root, edition, train.class_names)
    test = _test_listing(root, edition, train.class_names)
    names = readable_names(root, train.class_names)

    decoding, stores = decoding_for(config), []
    mirror_allowed = bool(DATASETS[edition.name].mirror_allowed)
    for split, part in (("train", train), ("test", test)):
        listing = replace(part, class_names=names)
        stores.append(
            FileStore(edition.name, split, listing, decoding, mirror_allowed, listing.note())
        )
    return Splits(stores[0], None, stores[1])


load_2012, load_2010 = (partial(load, edition) for edition in (EDITION_2012, EDITION_2010))
"""The builders in the table of data sets."""


def _check_edition(root: Path, edition: Edition, classes: Sequence[str]) -> None:
    """Raise DataError for classes that the devkit does not list; without one, accept all."""
    synsets = _devkit_synsets(root, edition)
    if synsets and not set(classes) <= set(synsets.values()):
        raise DataError(
            f"the folders have classes that {edition.name} does not have",
            escape_control(str(root.absolute())),
            "2012 and 2010 are different sets: dataset=imagenet or dataset=imagenet_2010",
        )


def _test_listing(root: Path, edition: Edition, classes: tuple[str, ...]) -> Listing:
    folder = root / edition.test_folder
    contents = read_folder(folder)
    if not contents.all_folders:
        names, left_out = list_flat(folder)
        labels = _labels_of_flat(root, edition, classes, names)
        return Listing(folder, names, torch.tensor(labels), classes, left_out=left_out)

    if contents.images:
        raise DataError(
            f"class folders and {len(contents.images)} images next to them:"
            f" {first_names(contents.images)}",
            escape_control(str(folder.absolute())),
            "sort all images into class folders, or put all of them into this one",
        )
    return list_class_folders(folder, classes, all_present=False)


def _labels_of_flat(
    root: Path, edition: Edition, classes: tuple[str, ...], names: list[str]
) -> list[int]:
    """Return a label per file, by its name, from the list that is there."""
    if (path := _find_file(root, "LOC_val_solution.csv")) is not None:
        synset_of = _from_solution_csv(path)
    elif (path := _find_file(root, edition.truth_file)) is not None:
        synset_of = _from_ground_truth(path, edition, _devkit_synsets(root, edition))
    else:
        raise DataError(
            f"{edition.test_folder}/ has no class folders, and no list labels its files",
            escape_control(str(root.absolute())),
            f"put {edition.truth_file} with the devkit's data/meta.mat, or LOC_val_solution.csv,"
            " into dataset.root",
        )

    synsets = join(names, synset_of, path, key=lambda name: Path(name).stem)
    label_of = {synset: label for label, synset in enumerate(classes)}
    if unknown := [n for n, s in zip(names, synsets, strict=True) if s not in label_of]:
        raise DataError(
            f"{len(unknown)} of {len(names)} files have a label that training does not have:"
            f" {first_names(unknown)}",
            escape_control(str(path)),
            "train/ lacks their classes, or the list is of another set",
        )
    return [label_of[synset] for synset in synsets]


def _from_solution_csv(path: Path) -> dict[str, str]:
    """Return name -> synset of lines such as ILSVRC2012_val_00000001,n01751748 1 2 3 4."""
    try:
        rows = list(csv.reader(io.StringIO(read_list(path))))[1:]
        return by_name([(row[0], row[1].split()[0]) for row in rows if row], path)
    except (IndexError, csv.Error) as error:
        raise DataError(
            "a line without an image and its class",
            escape_control(str(path)),
            "expected lines such as ILSVRC2012_val_00000001,n01751748",
        ) from error


def _from_ground_truth(path: Path, edition: Edition, synsets: dict[int, str]) -> dict[str, str]:
    """Return name -> synset: line n is the class number of image n, which the devkit translates."""
    if not synsets:
        raise DataError(
            "the ground truth has class numbers, and no devkit translates them",
            escape_control(str(path)),
            "unpack the devkit into dataset.root, so that data/meta.mat is there",
        )

    try:
        numbers = [int(line) for line in read_list(path).strip().splitlines()]
    except ValueError as error:
        raise DataError(
            "a line that is not a whole number",
            escape_control(str(path)),
            "unpack the devkit again",
        ) from error
    return {
        edition.image_name(image): synsets.get(number, "")
        for image, number in enumerate(numbers, start=1)
    }


def readable_names(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return 'tench, Tinca tinca' for 'n01440764' where a list is there; 2012 needs none.

    Two classes of the same words (crane, maillot) keep their synset in parentheses.
    """
    words = _word_list(root)
    if not words and len(classes) == 1000:
        words = _known_words(classes)
    names = [words.get(synset, synset) for synset in classes]
    times = Counter(names)
    return tuple(
        f"{name} ({synset})" if times[name] > 1 else name
        for name, synset in zip(names, classes, strict=True)
    )


def _word_list(root: Path) -> dict[str, str]:
    """Return synset -> words of lines such as 'n01440764 tench, Tinca tinca'."""
    for file_name in ("LOC_synset_mapping.txt", "synset_words.txt"):
        if (path := _find_file(root, file_name)) is not None:
            lines = [line for line in read_list(path).splitlines() if line.strip()]
            pairs = (line.partition(" ") for line in lines)
            return by_name(((synset, words.strip() or synset) for synset, _, words in pairs), path)
    return {}


def _known_words(classes: tuple[str, ...]) -> dict[str, str]:
    """Return torchvision's names of the 2012 classes, sorted by synset; {} for other classes."""
    if hashlib.sha256("\n".join(classes).encode()).hexdigest() != _SYNSETS_2012:
        return {}
    from torchvision.models import AlexNet_Weights

    categories = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    return dict(zip(classes, categories, strict=True))


def _devkit_synsets(root: Path, edition: Edition) -> dict[int, str]:
    """Return number -> synset of the devkit's data/meta.mat; nothing where there is none."""
    path = _find_file(root, "meta.mat")
    return read_synsets(path, edition.id_field) if path is not None else {}


def read_synsets(path: Path, id_field: str) -> dict[int, str]:
    """Return number -> synset of a devkit's meta.mat. Raises DataError."""
    try:
        if path.stat().st_size > _MOST_META_BYTES:
            raise ValueError("larger than 16 MiB")

        table = _read_synset_table(path)
        numbers, names = table[id_field].tolist(), table["WNID"].tolist()
        synsets = {int(number): str(name) for number, name in zip(numbers, names, strict=True)}
        if len(synsets) != len(numbers):
            raise ValueError("one number for two synsets")
        return synsets

    except Exception as error:  # scipy raises nearly anything on damaged files
        raise DataError(
            f"cannot read {id_field} and WNID of the devkit's synsets "
            f"({escape_control(str(error))})",
            escape_control(str(path)),
            "unpack the devkit of the same year again",
        ) from error


def _read_synset_table(path: Path) -> np.ndarray:
    """Return MATLAB's struct array `synsets` as records [n]."""
    from scipy.io import loadmat  # late: half a second that no other data set needs

    with warnings.catch_warnings(action="ignore"):  # they would print bytes of the file unescaped
        found = loadmat(path, variable_names=["synsets"], squeeze_me=True)
    if "synsets" not in found:
        raise ValueError("there is no variable synsets")
    return np.atleast_1d(found["synsets"])


def _find_file(root: Path, name: str) -> Path | None:
    """Look in root, root/data and any devkit folder in root."""
    folders = [root, root / "data", *sorted(root.glob("ILSVRC*devkit*/data"))]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
