"""Files of a set are fetched whole, and a full disk is not taken for a server that fails."""

import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnlab.data.download import Remote, fetch
from cnnlab.errors import DataError, UnwritableError

CONTENT = bytes(100_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    served = tmp_path / "served"
    served.mkdir()
    (served / "images.gz").write_bytes(CONTENT)
    return Remote("images.gz", ("file:///nowhere/", f"{served.as_uri()}/"), MD5)


@pytest.fixture
def small_files(remote: Remote) -> Iterator[None]:
    """No file of this process grows beyond 10,000 bytes, once the remote one is there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_next_server_is_asked_and_nothing_else_is_left(remote: Remote, tmp_path: Path) -> None:
    fetch([remote], str(tmp_path / "set"), "mnist")

    assert [path.name for path in (tmp_path / "set").iterdir()] == ["images.gz"]
    assert (tmp_path / "set" / "images.gz").read_bytes() == CONTENT


def test_a_file_with_another_md5_is_refused(remote: Remote, tmp_path: Path) -> None:
    other = Remote(remote.name, remote.folders, MD5[::-1])

    with pytest.raises(DataError, match="cannot download"):
        fetch([other], str(tmp_path / "set"), "mnist")
    assert not list((tmp_path / "set").iterdir())


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_named_as_one(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match="disk full"):
        fetch([remote], str(tmp_path / "set"), "mnist")
    assert not list((tmp_path / "set").iterdir())
