"""Two processes are started once for all tests of one session, whichever worker asks first."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.launching import CASES, WORKER, finished, torchrun


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which two processes trained, evaluated and were stopped."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "two_processes"
    with open(shared / "two_processes.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "0_found.json").exists():
            folder.mkdir()
            words = (WORKER, "found.json", "commands", *CASES)
            process = torchrun(*words, folder=folder)
            _, errors = finished(process)
            assert process.returncode == 0, errors
    return folder


@pytest.fixture(scope="session")
def found(started: Path) -> dict[str, Any]:
    """Return what the first of the two processes found."""
    facts: dict[str, Any] = json.loads((started / "0_found.json").read_text())
    return facts


@pytest.fixture(scope="session")
def said_by_the_other(started: Path) -> dict[str, Any]:
    """Return exit code, output and errors of process 1, by command."""
    commands: dict[str, Any] = json.loads((started / "1_found.json").read_text())["commands"]
    return commands
