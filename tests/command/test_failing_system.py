"""Errors of the system outside a task, in what a command begins with, are no bugs of cnnlab."""

import errno
import os
import resource
from pathlib import Path

import pytest

from cnnlab.cli import main
from cnnlab.files import regular


def test_a_sweep_whose_folder_takes_no_file_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        code = main(["train", "-m", "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 6
    assert "disk full or quota" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EIO, "the disk fails"), (errno.EACCES, "not permitted")]
)
def test_a_config_that_the_system_keeps_from_us_is_not_missing(
    number: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def kept(path: Path, most_bytes: int) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    (tmp_path / "config.yaml").write_text("seed: 0\n")
    monkeypatch.setattr(regular, "read", kept)
    assert main(["train", f"resume={tmp_path}"]) == 6
    errors = capsys.readouterr().err
    assert said in errors
    assert "config.yaml" in errors
