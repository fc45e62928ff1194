"""Run folders: one per run, created, locked while written, described by run.json, found again.

Knows no trainer and no tensor. Reading order: names, lock, record, claiming, retaking, finding,
provenance.
"""

from cnnlab.run_folder.claiming import claim
from cnnlab.run_folder.finding import (
    current_status,
    find_run,
    list_runs,
    newest_checkpoint,
    resolve_checkpoint,
)
from cnnlab.run_folder.record import BASE, RunFolder, now
from cnnlab.run_folder.retaking import retake

__all__ = [
    "BASE",
    "RunFolder",
    "claim",
    "current_status",
    "find_run",
    "list_runs",
    "newest_checkpoint",
    "now",
    "resolve_checkpoint",
    "retake",
]
