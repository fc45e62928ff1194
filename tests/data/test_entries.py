"""Every entry of a folder is used, left out and counted by its reason, or refused."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cnnlab import data
from cnnlab.data.decode import BadImage
from cnnlab.data.entries import Reason
from cnnlab.data.listing import Listing, list_class_folders
from cnnlab.data.pictures import picture_files, read_pictures
from cnnlab.errors import DataError
from tests.data.settings import dataset_config

DATA_PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def write_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (200, 100, 50)).save(path)
    return path


def write_two_classes(folder: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(3):
            write_picture(folder / name / f"{number}.png")
    return folder


def hidden_copy(root: Path) -> None:
    write_picture(root / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    write_picture(root / "cat" / ".ipynb_checkpoints" / "deeper" / "1-checkpoint.png")


def shared_pictures(root: Path) -> Path:
    return write_picture(root.parent / "elsewhere" / "more.png").parent


LEFT_OUT: dict[str, tuple[Reason, int, Callable[[Path], object]]] = {
    "a hidden picture": (Reason.HIDDEN, 1, lambda root: write_picture(root / "cat" / "._0.png")),
    "what macOS leaves": (Reason.HIDDEN, 1, lambda root: (root / ".DS_Store").write_text("x")),
    "what Windows leaves": (
        Reason.HIDDEN,
        1,
        lambda root: (root / "dog" / "Thumbs.db").write_text("x"),
    ),
    "an empty hidden folder": (Reason.HIDDEN, 1, lambda root: (root / ".git").mkdir()),
    "a notebook's copies": (Reason.IN_HIDDEN, 2, hidden_copy),
    "an unpacked archive's shadow": (
        Reason.IN_HIDDEN,
        1,
        lambda root: write_picture(root / "__MACOSX" / "cat" / "0.png"),
    ),
    "notes": (Reason.EXTENSION, 1, lambda root: (root / "cat" / "notes.txt").write_text("x")),
    "a list beside the classes": (
        Reason.EXTENSION,
        1,
        lambda root: (root / "labels.csv").write_text("x"),
    ),
    "a pipe": (Reason.EXTENSION, 1, lambda root: os.mkfifo(root / "cat" / "pipe")),
    "pictures of no class": (Reason.LOOSE, 1, lambda root: write_picture(root / "loose.png")),
    "an empty folder in a class": (Reason.EMPTY, 1, lambda root: (root / "cat" / "new").mkdir()),
    "a link to its own class": (Reason.LOOP, 1, lambda root: (root / "cat" / "up").symlink_to(".")),
    "a link to the root": (Reason.LOOP, 1, lambda root: (root / "cat" / "up").symlink_to("..")),
    "a link above the root": (
        Reason.LOOP,
        1,
        lambda root: (root / "cat" / "up").symlink_to(root.parent),
    ),
    "a second way into a folder": (
        Reason.SEEN,
        1,
        lambda root: (
            (root / "cat" / "old").mkdir(),
            (root / "cat" / "old" / "why.txt").write_text("x"),
            (root / "cat" / "again").symlink_to("old"),
        ),
    ),
    "a link that lost its target": (
        Reason.DANGLING,
        1,
        lambda root: (root / "cat" / "disk2").symlink_to("/nowhere/to/be/found"),
    ),
    "a link to itself": (
        Reason.DANGLING,
        1,
        lambda root: (root / "cat" / "ring").symlink_to("ring"),
    ),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path, kind: str) -> None:
    reason, number, make = LEFT_OUT[kind]
    root = write_two_classes(tmp_path / "pictures")
    make(root)
    listing = list_class_folders(root)
    assert len(listing.paths) == 6
    assert listing.left_out.counts[reason] == number
    assert listing.note().startswith("left out: ")
    assert str(number) in listing.note()
    assert str(tmp_path) not in listing.note()


@pytest.mark.parametrize("kind", [k for k in LEFT_OUT if LEFT_OUT[k][0] is not Reason.LOOSE])
def test_prediction_lists_a_folder_as_training_does(tmp_path: Path, kind: str) -> None:
    root = write_two_classes(tmp_path / "pictures")
    LEFT_OUT[kind][2](root)
    files, left_out = picture_files([str(root)])
    trained = list_class_folders(root)
    assert [os.path.relpath(path, root) for path in files] == trained.paths
    assert left_out.counts == trained.left_out.counts


def test_nothing_is_left_out_of_a_clean_folder(tmp_path: Path) -> None:
    assert list_class_folders(write_two_classes(tmp_path)).note() == ""


def follow(root: Path, link: str, target: Path) -> Listing:
    (root / link).symlink_to(target, target_is_directory=True)
    return list_class_folders(root)


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path / "pictures")
    listing = follow(root, "cat/more", shared_pictures(root))
    assert "cat/more/more.png" in listing.paths
    assert listing.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_class_may_be_a_link(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path / "pictures")
    listing = follow(root, "emu", shared_pictures(root))
    assert listing.class_names == ("cat", "dog", "emu")
    assert listing.paths[-1] == "emu/more.png"


def test_a_folder_inside_and_outside_a_link_is_listed_once(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path / "pictures")
    write_picture(root / "cat" / "zoo" / "9.png")
    listing = follow(root, "cat/a_link", Path("zoo"))
    assert [path for path in listing.paths if path.endswith("9.png")] == ["cat/zoo/9.png"]


@pytest.mark.parametrize(("link", "target"), [("cat/more", "../dog"), ("emu", "dog")])
def test_a_folder_of_two_classes_is_refused(tmp_path: Path, link: str, target: str) -> None:
    root = write_two_classes(tmp_path / "pictures")
    with pytest.raises(DataError, match="two classes") as caught:
        follow(root, link, Path(target))
    assert "dog" in caught.value.what
    assert link in caught.value.what


def test_a_class_whose_link_lost_its_target_is_refused(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path / "pictures")
    with pytest.raises(DataError, match="broken link among the classes: emu"):
        follow(root, "emu", tmp_path / "unplugged")


def test_a_folder_with_a_long_path_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    """Beyond 4,096 bytes the system refuses the path: that holds for root too."""
    root = write_two_classes(tmp_path / "pictures")
    descriptor = os.open(root / "cat", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=descriptor)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    with pytest.raises(DataError, match="cannot open the folder: File name too long") as caught:
        list_class_folders(root)
    assert str(root / "cat" / ("d" * 250)) in caught.value.where
    with pytest.raises(DataError, match="cannot open the folder"):
        picture_files([str(root)])


RING = "a ring of links"
REFUSED_PATHS = {"a long name": "x" * 300, "a long path": "/".join(["x" * 200] * 25), RING: "ring"}


@pytest.mark.parametrize("kind", REFUSED_PATHS)
@pytest.mark.parametrize("name", ["folder", "gtsrb", "imagenet", "mnist", "cifar10", "store"])
def test_a_root_that_the_system_refuses_is_told(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "ring").symlink_to("ring")
    root = str(tmp_path / REFUSED_PATHS[kind])
    with pytest.raises(DataError, match="cannot open the folder") as caught:
        data.load(dataset_config(name, root=root))
    assert caught.value.where == root
    with pytest.raises(DataError, match="cannot open the folder"):
        picture_files([root])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path / "pictures")
    locked = write_picture(root / "dog" / "locked" / "0.png").parent
    locked.chmod(0)
    try:
        with pytest.raises(DataError, match="Permission denied") as caught:
            list_class_folders(root)
    finally:
        locked.chmod(0o755)
    assert str(locked) in caught.value.where


def test_a_folder_called_like_a_picture_is_told_when_it_is_read(tmp_path: Path) -> None:
    write_picture(tmp_path / "cat" / "0.png")
    write_picture(tmp_path / "cat" / "1.png" / "inside.png")
    files, _ = picture_files([str(tmp_path / "cat")])
    assert [path.name for path in files] == ["0.png", "1.png"]
    outcome = read_pictures(files, 3)[1][1]
    assert isinstance(outcome, BadImage)
    assert outcome.reason == "folder, not a file"


def test_a_class_without_images_says_what_lies_there_instead(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path)
    (root / "emu").mkdir()
    (root / "emu" / "photo.heic").write_text("x")
    with pytest.raises(DataError, match="1 classes without images: emu") as caught:
        list_class_folders(root)
    assert "1 file without an image extension (emu/photo.heic)" in caught.value.where
    with pytest.raises(DataError, match="no image files") as caught:
        picture_files([str(root / "emu")])
    assert "photo.heic" in caught.value.where


@pytest.mark.parametrize("name", [b"K\xe4se", b"\xff"])
def test_a_class_name_of_other_bytes_is_refused_and_shown(tmp_path: Path, name: bytes) -> None:
    write_two_classes(tmp_path)
    os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        list_class_folders(tmp_path)
    shown = "".join(chr(b) if b < 128 else f"\\x{b:02x}" for b in name)
    assert str(caught.value).splitlines()[0].endswith(f": {shown}")
    str(caught.value).encode()


def test_file_names_of_other_bytes_are_used(tmp_path: Path) -> None:
    root = write_two_classes(tmp_path)
    strange = os.path.join(os.fsencode(root), b"cat", b"\xfcber.png")
    os.rename(root / "cat" / "0.png", strange)
    (root / "cat" / os.fsdecode(b"\xe4.txt")).write_text("x")
    listing = list_class_folders(root)
    assert len(listing.paths) == 6
    assert len(listing.digest()) == 64
    assert "\\xe4.txt" in listing.note()


class Counted(str):
    """A class name that counts how often it is hashed and compared."""

    times = 0

    def __hash__(self) -> int:
        Counted.times += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        Counted.times += 1
        return super().__eq__(other)


SCANS: list[str] = []
sys.addaudithook(lambda event, args: SCANS.append(str(args[0])) if event == "os.scandir" else None)


def test_listing_takes_work_in_proportion_to_the_classes(tmp_path: Path) -> None:
    names = [f"class_{number:04d}" for number in range(1500)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    Counted.times = 0
    SCANS.clear()
    listing = list_class_folders(tmp_path, [Counted(name) for name in names])
    assert len(listing.paths) == 1500
    assert len(SCANS) == 1501  # the root and each class, once
    assert Counted.times <= 10 * 1500


def test_the_page_tells_every_reason() -> None:
    text = re.sub(r"\s+", " ", DATA_PAGE.read_text(encoding="utf-8"))
    for reason in Reason:
        assert f"`{reason.value[1]}`" in text, reason
