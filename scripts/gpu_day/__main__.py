"""Check and measure cnnlab on a GPU in one run of limited time.

    ./scripts/gpu_check.sh                       # with .venv, made where there is none
    ./scripts/gpu_check.sh --offline --seconds 560 --out FOLDER     # PYTHON or python3, no network
    ./scripts/gpu_check.sh --device cpu --seconds 200               # a rehearsal: tiny networks

Correctness comes first, then rates, each part under a deadline of its own. FOLDER/gpu.json is
written after each part, FOLDER/PART.log is what a part printed, and a table ends the output.
"""

import argparse
import datetime
import os
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from scripts.gpu_day import record
from scripts.gpu_day.deadlines import DONE, LEFT_OUT, ROOT, Day, missing, run_all
from scripts.gpu_day.part import NO_DEVICE
from scripts.gpu_day.sections import SECTIONS, Section

USAGE, EXISTS = 2, 8
RESERVE_SECONDS = 5.0
"""Of the whole, for killing the last section and for the table."""

DISTRIBUTIONS = ("hydra", "omegaconf", "simplejpeg", "mlxtend", "tensorboard", "torchvision")
"""Packages that cnnlab uses, some of which a bare machine lacks."""


def main() -> int:
    given = options().parse_args()
    folder = given.out or ROOT / "outputs" / f"gpu_check-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    known = [section.name for section in SECTIONS]
    if unknown := set(given.only or known) - set(known):
        return refuse(USAGE, f"no section {min(unknown)!r}", f"there are: {', '.join(known)}")
    if given.wheels is not None and not list(given.wheels.glob("*.whl")):
        return refuse(USAGE, f"no wheels in {given.wheels}", "give a folder of .whl files")
    if (folder / "gpu.json").exists():
        return refuse(EXISTS, f"{folder}/gpu.json exists", "choose another --out")
    folder.mkdir(parents=True, exist_ok=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the section ends, the record stays
    scratch = Path(tempfile.mkdtemp(prefix="cnnlab-gpu-day-"))
    try:
        return measure(given, folder.resolve(), scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def options() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("gpu_check.sh", description=__doc__, formatter_class=raw)
    parser.add_argument("--device", default="cuda:0", help="cuda:0 (the default), cuda:N or cpu")
    parser.add_argument("--seconds", type=float, default=560, help="for the whole day (560)")
    parser.add_argument("--out", type=Path, help="new folder for gpu.json and the logs")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="some of the sections")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to import, for the day")
    parser.add_argument("--offline", action="store_true", help="PYTHON or python3, without .venv")
    return parser


def refuse(code: int, what: str, hint: str) -> int:
    print(f"cnnlab: {what}\n  {hint}", file=sys.stderr)
    return code


def measure(given: argparse.Namespace, folder: Path, scratch: Path) -> int:
    """Run the sections; write the record after each, and print the table."""
    ends = time.monotonic() + given.seconds - RESERVE_SECONDS
    chosen = [s for s in SECTIONS if s.gate or not given.only or s.name in given.only]
    day = Day(given.device, folder, environment(given.device, scratch), ends)
    document = record.heading(given.device, given.seconds)
    document["wheels"] = unpack(given.wheels, scratch / "site")
    document["not_installed"] = missing(DISTRIBUTIONS, day.environment["PYTHONPATH"])
    document["sections"] = outcomes = []

    def finished(outcome: dict[str, Any]) -> None:
        outcomes.append(outcome)
        record.write(folder / "gpu.json", document | {"ended": record.now()})
        print(f"{outcome['name']}: {outcome['state']}, {outcome['seconds']:.0f} s", file=sys.stderr)

    return run(chosen, day, document, finished)


def run(chosen: list[Section], day: Day, document: dict[str, Any], finished: Any) -> int:
    """Return 0 where no section failed, 1 where one did, 6 without a device, 130 after Ctrl-C."""
    code = 0
    try:
        run_all(chosen, day, finished)
    except KeyboardInterrupt:
        code = 130
    outcomes = document["sections"]
    if outcomes and outcomes[0].get("exit_code") == NO_DEVICE:
        print(outcomes[0]["why"], file=sys.stderr)
        return NO_DEVICE

    print("\n".join(record.table(outcomes)))
    if document["not_installed"]:
        print(f"not installed: {', '.join(document['not_installed'])}")
    print(f"record: {day.folder}/gpu.json")
    failed = [o["name"] for o in outcomes if o["state"] not in (DONE, LEFT_OUT)]
    return code or (1 if failed else 0)


def environment(device: str, scratch: Path) -> dict[str, str]:
    """Return the environment of every section: this source tree first, files in `scratch`."""
    paths = [ROOT / "src", ROOT, scratch / "site"]
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "MPLBACKEND": "Agg",
        "TMPDIR": str(scratch),
        "TORCHINDUCTOR_COMPILE_THREADS": "4",  # in each of the processes that compile
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "TRITON_CACHE_DIR": str(scratch / "triton"),
    }
    if device == "cpu":
        found["OMP_NUM_THREADS"] = "1"  # tiny networks gain nothing from more
    if before := os.environ.get("PYTHONPATH"):
        found["PYTHONPATH"] += os.pathsep + before
    return found


def unpack(wheels: Path | None, site: Path) -> list[str]:
    """Unpack all wheels of a folder, as they are imported from; return their names."""
    files = sorted(wheels.glob("*.whl")) if wheels is not None else []
    for file in files:
        with zipfile.ZipFile(file) as wheel:
            wheel.extractall(site)
    return [file.name for file in files]


if __name__ == "__main__":
    sys.exit(main())
