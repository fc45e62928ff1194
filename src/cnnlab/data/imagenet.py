"""imagenet: ILSVRC 2012, and 2010 apart from it; with or without the devkit or class folders.

The 50,000 validation images are what papers report on, so they are the test split here, and
validation is a seeded part of training. 2010 has public labels for its 150,000 test images.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cnnlab.config import DatasetConfig
from cnnlab.config.data import EncodedConfig
from cnnlab.data.files import FileStore
from cnnlab.data.folder import decoding_for, existing_root
from cnnlab.data.listing import Listing, list_class_folders, list_classes
from cnnlab.data.matlab import read_synsets
from cnnlab.data.store import Splits
from cnnlab.errors import DataError
from cnnlab.printable import printable

LAYOUT = "expected train/n01440764/*.JPEG and val/, with class folders or flat with a label list"


@dataclass(frozen=True)
class Edition:
    """A year of the challenge: the folder that is tested on, and the files that label it."""

    name: str
    test_folder: str
    truth_file: str
    id_field: str


EDITION_2012 = Edition("imagenet", "val", "ILSVRC2012_validation_ground_truth.txt", "ILSVRC2012_ID")
EDITION_2010 = Edition("imagenet_2010", "test", "ILSVRC2010_test_ground_truth.txt", "ILSVRC2010_ID")


def load_2012(config: DatasetConfig) -> Splits:
    """Return the training images and, as test, the validation images of 2012."""
    return _load(config, EDITION_2012)


def load_2010(config: DatasetConfig) -> Splits:
    """Return the training and the test images of 2010."""
    return _load(config, EDITION_2010)


def _load(config: DatasetConfig, edition: Edition) -> Splits:
    assert isinstance(config, EncodedConfig)
    root = existing_root(config.root, edition.name, LAYOUT)
    for folder in ("train", edition.test_folder):
        if not (root / folder).is_dir():
            where = printable(str((root / folder).absolute()))
            raise DataError(f"the images of {edition.name} were not found", where, LAYOUT)
    train = list_class_folders(root / "train")
    _check_edition(root, edition, train.class_names)
    test = _test_listing(root, edition, train.class_names)
    names = readable_names(root, train.class_names)
    stores = [
        FileStore(
            edition.name,
            split,
            Listing(part.root, part.paths, part.labels, names, None, part.num_ignored),
            decoding_for(config),
            mirror_allowed=True,
        )
        for split, part in (("train", train), ("test", test))
    ]
    return Splits(stores[0], None, stores[1])


def _check_edition(root: Path, edition: Edition, classes: Sequence[str]) -> None:
    """Refuse the other year's files by the synsets that a devkit lists; without one, trust."""
    synsets = _devkit_synsets(root, edition)
    if synsets and not set(classes) <= set(synsets.values()):
        raise DataError(
            f"classes that {edition.name} does not have",
            printable(str(root.absolute())),
            "2010 and 2012 are different sets: dataset=imagenet or dataset=imagenet_2010",
        )


def _test_listing(root: Path, edition: Edition, classes: tuple[str, ...]) -> Listing:
    folder = root / edition.test_folder
    if any(entry.is_dir() for entry in folder.iterdir()):
        list_classes(folder)
        return list_class_folders(folder, classes, all_present=False)
    names = sorted(path.name for path in folder.iterdir() if path.suffix.upper() == ".JPEG")
    labels = _labels_of_flat(root, edition, classes, names)
    return Listing(folder, names, torch.tensor(labels), classes)


def _labels_of_flat(
    root: Path, edition: Edition, classes: tuple[str, ...], names: list[str]
) -> list[int]:
    """Return a label a file, from whichever list is there; every file must be in it."""
    position = {name: label for label, name in enumerate(classes)}
    if (path := _find_file(root, "LOC_val_solution.csv")) is not None:
        wanted = _from_solution_csv(path)
    elif (path := _find_file(root, edition.truth_file)) is not None:
        wanted = _from_ground_truth(path, names, _devkit_synsets(root, edition))
    else:
        raise DataError(
            f"{edition.test_folder}/ has no class folders, and no list labels its files",
            printable(str(root.absolute())),
            f"put {edition.truth_file} with the devkit's data/meta.mat, or LOC_val_solution.csv,"
            " into dataset.root",
        )
    missing = [name for name in names if wanted.get(Path(name).stem) not in position]
    if missing or not names:
        raise DataError(
            f"{len(missing)} of {len(names)} files have no label that training knows",
            printable(f"{path}: {', '.join(missing[:3])}"),
        )
    return [position[wanted[Path(name).stem]] for name in names]


def _from_solution_csv(path: Path) -> dict[str, str]:
    """ImageId,PredictionString with lines such as ILSVRC2012_val_00000001,n01751748 ..."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    try:
        return {row[0]: row[1].split()[0] for row in rows}
    except IndexError as error:
        raise DataError("a line without image and class", printable(str(path))) from error


def _from_ground_truth(path: Path, names: list[str], synsets: dict[int, str]) -> dict[str, str]:
    """One number a line, for the files in the order of their names; the devkit translates it."""
    if not synsets:
        raise DataError(
            "the ground truth holds numbers, and no devkit says which class they mean",
            printable(str(path)),
            "unpack the devkit into dataset.root, so that data/meta.mat is there",
        )
    try:
        numbers = [int(line) for line in path.read_text().split()]
    except ValueError as error:
        raise DataError("a line that is no whole number", printable(str(path))) from error
    if len(numbers) != len(names):
        raise DataError(f"{len(numbers)} labels, {len(names)} images", printable(str(path)))
    return {
        Path(name).stem: synsets.get(number, "")
        for name, number in zip(names, numbers, strict=True)
    }


def readable_names(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return 'tench, Tinca tinca' for 'n01440764' where a list is there; 2012's are known anyway.

    Two classes of the same words (crane, maillot) keep their synset in brackets.
    """
    words = _word_list(root)
    if not words and len(classes) == 1000:
        words = _known_words(classes)
    names = [words.get(synset, synset) for synset in classes]
    twice = (
        {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    )
    return tuple(
        f"{name} ({synset})" if name in twice else name
        for name, synset in zip(names, classes, strict=True)
    )


def _word_list(root: Path) -> dict[str, str]:
    """Read lines of 'n01440764 tench, Tinca tinca'."""
    for file_name in ("LOC_synset_mapping.txt", "synset_words.txt"):
        if (path := _find_file(root, file_name)) is not None:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            pairs = (line.partition(" ") for line in lines if line.strip())
            return {synset: words.strip() or synset for synset, _, words in pairs}
    return {}


def _known_words(classes: tuple[str, ...]) -> dict[str, str]:
    """Return torchvision's names of 2012, which follow the sorted synsets, if these are they."""
    if (classes[0], classes[-1]) != ("n01440764", "n15075141"):
        return {}
    from torchvision.models import AlexNet_Weights

    categories = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    return dict(zip(classes, categories, strict=True))


def _devkit_synsets(root: Path, edition: Edition) -> dict[int, str]:
    path = _find_file(root, "meta.mat")
    return read_synsets(path, edition.id_field) if path is not None else {}


def _find_file(root: Path, name: str) -> Path | None:
    """Look in root, root/data and any devkit folder in root."""
    folders = [root, root / "data", *sorted(root.glob("ILSVRC*devkit*/data"))]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
