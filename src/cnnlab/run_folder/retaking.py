"""A folder in which a run failed before it saved anything: the corrected command may name it again.

Bad images, a diverging rate and the like are found when a run has its folder already. Until then
nothing of worth is in it but the log of the failure, which stays until the folder is named again.
"""

import shutil
from pathlib import Path

from cnnlab.run_folder import names
from cnnlab.run_folder.lock import RunLock
from cnnlab.run_folder.record import FILES, FOLDERS, RunFolder

MEMBERS = "members"
ENDED = ("failed",)
ENDED_IN_AN_ENSEMBLE = ("failed", "interrupted", "waiting")
"""What run.json of a member may say: the others stop, or never start, when one has failed."""


def retake(path: Path) -> None:
    """Empty a run folder that is worth nothing; leave every other path as it is.

    Raises BusyError while somebody writes there, CheckpointError for links in a run's places.
    """
    run = RunFolder(path)
    if not _is_worth_nothing(run):
        return

    lock = RunLock(path)
    try:
        if _is_worth_nothing(run):  # still, now that nobody else can write
            run.check()
            for name in FOLDERS:
                shutil.rmtree(path / name, ignore_errors=True)
            for name in FILES:
                (path / name).unlink(missing_ok=True)
    finally:
        lock.release()


def _is_worth_nothing(run: RunFolder, ended: tuple[str, ...] = ENDED) -> bool:
    """Return whether a run has ended without a checkpoint and without the figures of an epoch.

    And without anything that no run has written.
    """
    if run.status().get("status") not in ended:
        return False

    members = run.path / MEMBERS
    inside = [RunFolder(path) for path in members.iterdir()] if members.is_dir() else []
    epochs = run.path / "metrics.csv"
    return (
        {path.name for path in run.path.iterdir()} <= {*FILES, *FOLDERS}
        and not names.newest_first(run.checkpoints)
        and not (epochs.is_file() and epochs.stat().st_size)
        and all(_is_worth_nothing(member, ENDED_IN_AN_ENSEMBLE) for member in inside)
    )
