"""gpu.json, written whole after each section, and the table at the end."""

import datetime
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.gpu_day.deadlines import ROOT

MOST_LINES = 30
"""Of one section in the table; gpu.json has all rows."""


def heading(device: str, seconds: float) -> dict[str, Any]:
    """Return when, of which source and with which words a day begins."""
    return {
        "started": now(),
        "source": source(),
        "python": sys.version.split()[0],
        "device": device,
        "rehearsal": device == "cpu",
        "seconds": seconds,
        "command": sys.argv[1:],
    }


def source() -> dict[str, Any]:
    """Return the commit, where there is a repository, and a digest of all files of src and scripts.

    The digest is SHA-256 over the sorted paths and the contents of the Python files.
    """
    digest = hashlib.sha256()
    for path in sorted(path for part in ("src", "scripts") for path in (ROOT / part).rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "sha256": digest.hexdigest(),
    }


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(ROOT), "--no-optional-locks", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write(path: Path, document: dict[str, Any]) -> None:
    """Replace the file: whoever reads it finds the old document or the new one, whole."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def table(outcomes: Iterable[dict[str, Any]]) -> list[str]:
    """Return the sections with their state, each with the lines that it noted for people."""
    lines = [f"{'section':<14}{'state':<13}{'seconds':>7}"]
    for outcome in outcomes:
        head = f"{outcome['name']:<14}{outcome['state']:<13}{outcome['seconds']:>7.1f}"
        lines.append(f"{head}  {outcome['why']}".rstrip())

        told = [row["line"] for row in outcome["rows"] if "line" in row]
        lines += [f"    {line}" for line in told[:MOST_LINES]]
        if len(told) > MOST_LINES:
            lines.append(f"    ... {len(told) - MOST_LINES} more in gpu.json")
        if left_out := [row["left_out"] for row in outcome["rows"] if "left_out" in row]:
            lines.append(f"    no time for {len(left_out)}: {', '.join(left_out)}")
    return lines


def now() -> str:
    """Return the time with its zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
