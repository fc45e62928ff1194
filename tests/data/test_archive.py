import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnlab.data import archive
from cnnlab.errors import DataError


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def add_text(tar: tarfile.TarFile, name: str, text: bytes = b"evil") -> None:
    info = member(name)
    info.size = len(text)
    tar.addfile(info, io.BytesIO(text))


def add_through_link(tar: tarfile.TarFile, outside: Path) -> None:
    tar.addfile(member("door", tarfile.SYMTYPE, str(outside)))
    add_text(tar, "door/escaped")


def add_through_hard_link(tar: tarfile.TarFile, outside: Path) -> None:
    tar.addfile(member("door", tarfile.LNKTYPE, str(outside / "secret")))


ATTACKS: dict[str, Callable[[tarfile.TarFile, Path], None]] = {
    "a name with ..": lambda tar, outside: add_text(tar, "../escaped"),
    "deep ..": lambda tar, outside: add_text(tar, "a/b/../../../escaped"),
    "an absolute name": lambda tar, outside: add_text(tar, str(outside / "escaped")),
    "a link outside": lambda tar, outside: tar.addfile(
        member("door", tarfile.SYMTYPE, "../secret")
    ),
    "a link inside": lambda tar, outside: tar.addfile(member("door", tarfile.SYMTYPE, "a")),
    "through a link": add_through_link,
    "a hard link": add_through_hard_link,
    "a device": lambda tar, outside: tar.addfile(member("null", tarfile.CHRTYPE)),
    "a FIFO": lambda tar, outside: tar.addfile(member("pipe", tarfile.FIFOTYPE)),
    "many members": lambda tar, outside: [add_text(tar, f"{k}", b"") for k in range(60)],
    "a thousandfold ratio": lambda tar, outside: add_text(tar, "zeros", bytes(4_000_000)),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_is_refused_and_leaves_nothing(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 50)
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        add_text(tar, "batch", b"good")
        ATTACKS[kind](tar, outside)
    with pytest.raises(DataError, match=r"cannot unpack"):
        archive.unpack(path, target)
    assert [item.name for item in outside.iterdir()] == ["secret"]
    assert not (tmp_path / "escaped").exists()
    assert not list(target.iterdir())


def test_a_truncated_or_foreign_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        add_text(tar, "batch", bytes(range(256)) * 400)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>404</html>", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot unpack"):
            archive.unpack(path, tmp_path / "target")
        assert not list((tmp_path / "target").iterdir())


def test_an_honest_archive_is_unpacked_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        add_text(tar, "set/one", b"1")
        add_text(tar, "set/two", b"2")
    for _ in range(2):  # again over what is there
        archive.unpack(path, tmp_path)
        assert (tmp_path / "set" / "one").read_text() == "1"
    assert not list(tmp_path.glob(".*"))
