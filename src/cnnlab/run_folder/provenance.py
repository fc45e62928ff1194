"""What a run was made with: versions, host, and the git revision of the source."""

import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

_LIBRARIES = ("cnnlab", "torch", "torchvision", "hydra-core", "numpy")
_PATIENCE_SECONDS = 5


def describe() -> dict[str, Any]:
    """Return versions, host, processor and, when cnnlab runs from a checkout, its revision."""
    return {
        "versions": versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "num_processors": os.cpu_count(),
        "git": revision(Path(__file__).parent),
    }


def revision(folder: Path) -> dict[str, Any] | None:
    """Return {"revision", "dirty"} of the git checkout that cnnlab runs from, or None.

    dirty: tracked files differ from the revision. A copy inside another repository (an installed
    wheel) is not tracked there and has no revision.
    """
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ":/")
    return {"revision": commit, "dirty": changed != ""}


def versions() -> dict[str, str]:
    """Return the version of Python and of each library that figures depend on, by name."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), "--no-optional-locks", *words]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
