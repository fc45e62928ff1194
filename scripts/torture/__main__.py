"""The release gate of durability: run every part, print its figures and whether it holds.

    python -m scripts.torture [--quick] [--only PART ...] [--record FILE]

All parts take about 30 minutes.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cnnlab import __version__
from cnnlab.run_folder import provenance
from cnnlab.starting import ENDING
from scripts.torture import (
    claims,
    command,
    decoding,
    disagreement,
    failing_calls,
    foreign,
    mutations,
    output_folders,
    payloads,
    runs,
    settings,
    shares,
    signals,
    stores,
    strangers,
    streams,
)
from tests.hostile_names import NAMES

ROOT = Path(__file__).resolve().parents[2]
Part = Callable[[Path, bool], dict[str, Any]]


def writers(folder: Path, quick: bool) -> dict[str, Any]:
    """180 writers killed with -9 in the middle of their work."""
    found = _script("writers.py", folder, 10 if quick else 180, 0)
    return found | {"holds": found["unreadable"] == found["saves_lost"] == 0}


def crash_points(folder: Path, quick: bool) -> dict[str, Any]:
    """A crash at each system call of a save."""
    found = _script("crash_points.py", folder)
    bad = [e for e in found if e["unreadable"] or e["step"] not in (3, 4)]
    return {"crashes": sum(e["died"] for e in found), "bad": bad, "holds": not bad}


def whole_runs(folder: Path, quick: bool) -> dict[str, Any]:
    """20 whole runs, each killed with -9 twice and continued to its end."""
    num_runs = 1 if quick else 20
    found = runs.kill_runs(folder, num_runs, seed=0)
    holds = found["unreadable"] == 0 and found["identical"] == num_runs
    return found | {"holds": holds}


def each_step(folder: Path, quick: bool) -> dict[str, Any]:
    """A 24-step run resumed from each of its steps."""
    steps = [1, 8, 23] if quick else list(range(1, 24))
    found = runs.resume_from_each_step(folder, command.call, steps)
    return found | {"holds": found["identical"] == len(steps)}


def each_decoded_step(folder: Path, quick: bool) -> dict[str, Any]:
    """The same from a Store of JPEGs, with 1 and with 4 decoding threads."""
    steps = [8, 13] if quick else list(range(1, 24))
    found = decoding.resume_decoding_runs(folder, steps)
    identical = all(found[threads]["identical"] == len(steps) for threads in ("1", "4"))
    return found | {"holds": identical and found["alike"]}


def terminations(folder: Path, quick: bool) -> dict[str, Any]:
    """30 SIGTERMs at random moments of runs, start-up included, three per run."""
    found = runs.terminate_runs(folder, 2 if quick else 30, seed=0)
    saved = found["saved"] == found["stopped"] - found["before_the_run_began"]
    identical = found["identical"] == found["runs"]
    clean = found["with_143"] == found["stopped"] and not found["problems"]
    in_time = found["slowest_stop_seconds"] <= runs.STOP_SECONDS
    return found | {"holds": saved and identical and clean and in_time}


def mutated(folder: Path, quick: bool) -> dict[str, Any]:
    """2,000 damaged or forged checkpoints."""
    found = mutations.mutate(folder, 200 if quick else 2000, seed=0)
    tracebacks = [name for name in found if name.startswith("traceback")]
    return found | {"holds": not tracebacks and found["silent"] == found["slow"] == 0}


def attacked(folder: Path, quick: bool) -> dict[str, Any]:
    """25 files that run a command when unpickled, through every command that takes a path."""
    found = payloads.attack_all(folder)
    effective = payloads.payloads_work(folder)
    holds = effective and not (found["executed"] or found["unclean"] or found["accepted"])
    return found | {"payloads_work_when_unpickled": effective, "holds": holds}


def malformed(folder: Path, quick: bool) -> dict[str, Any]:
    """500 malformed configs and overrides."""
    found = settings.malform(folder, 20 if quick else 500, seed=0)
    return found | {"holds": not found["unclean"]}


def lost_streams(folder: Path, quick: bool) -> dict[str, Any]:
    """Each command with each of its streams closed, full, unread, or plain ASCII."""
    found = streams.lose_all(folder, ["list", "train"] if quick else list(streams.COMMANDS))
    return found | {"holds": not found["problems"]}


def requests(folder: Path, quick: bool) -> dict[str, Any]:
    """Each signal that asks to end, to a run that trains and to a preparation that waits."""
    found = signals.send_all(folder, [signal.SIGHUP] if quick else list(ENDING))
    return found | {"holds": not found["problems"]}


def foreign_modules(folder: Path, quick: bool) -> dict[str, Any]:
    """Each command, and each way to start one, beside modules of famous names."""
    found = foreign.start_all(folder, ["list"] if quick else list(streams.COMMANDS))
    return found | {"holds": not found["problems"]}


def strange_folders(folder: Path, quick: bool) -> dict[str, Any]:
    """Each file of a run folder as a pipe, a link, a folder, endless and huge, in each command."""
    found = strangers.attack(folder, strangers.NAMES[:3] if quick else strangers.NAMES)
    return found | {"holds": not (found["unclean"] or found["changed"])}


def strange_outputs(folder: Path, quick: bool) -> dict[str, Any]:
    """The same with each file of an output folder of `cnnlab reproduce`."""
    found = output_folders.attack(folder)
    return found | {"holds": not (found["unclean"] or found["changed"])}


def forged_sizes(folder: Path, quick: bool) -> dict[str, Any]:
    """Each number of a checkpoint's document as a thousand million, with each command."""
    found = strangers.forged_sizes(folder)
    return found | {"holds": not found["unclean"]}


def damaged_stores(folder: Path, quick: bool) -> dict[str, Any]:
    """Each file of a Store flipped or cut, before and while it is used."""
    found = stores.attack(folder, 3 if quick else 60, seed=0)
    return found | {"holds": not found["problems"]}


def failed_calls(folder: Path, quick: bool) -> dict[str, Any]:
    """Each command, in which a write, fsync, rename ... fails with an error of the system."""
    library = failing_calls.compile_library(folder)
    names = ["list", "convert"] if quick else list(failing_calls.COMMANDS)
    preloaded = {"LD_PRELOAD": str(library)}
    found = _script("failing_calls.py", folder, 1 if quick else 4, *names, variables=preloaded)
    return found | {"holds": not found["problems"]}


def disagreeing(folder: Path, quick: bool) -> dict[str, Any]:
    """Two processes of one job that were started differently, each difference in turn."""
    names = ["seed"] if quick else list(disagreement.DIFFERENCES)
    found = disagreement.disagree(folder, names)
    return found | {"holds": not found["problems"]}


def hostile_names(folder: Path, quick: bool) -> dict[str, Any]:
    """Awkward names of classes, files and folders through every command and format: the tests."""
    chosen = ["-k", "predict"] if quick else ["--run-slow"]
    line = [sys.executable, "-P", "-m", "pytest", "-q", "tests/test_hostile_output.py", *chosen]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    summary = done.stdout.strip().splitlines()[-1:]
    return {"names": len(NAMES), "tests": summary, "holds": done.returncode == 0}


def killed_claims(folder: Path, quick: bool) -> dict[str, Any]:
    """Three claims of the papers, killed at random: the rows of a command that was left alone."""
    found = claims.kill_and_compare(folder, 2 if quick else 8)
    return found | {"holds": found["equal_rows"] == found["claims"] and found["kills"] > 0}


def costs(folder: Path, quick: bool) -> dict[str, Any]:
    """The cost of a save, relative to writing the same bytes and to an epoch."""
    found = _script("figures.py", folder) | shares.save_share(folder / "run")
    holds = (
        found["save_over_write_and_sync"] <= 1.3
        and found["verify_megabytes_per_second"] >= 500
        and found["memory_above_start_megabytes"] <= 50
        and found["save_share_of_an_epoch_of_60000_images"] <= 0.05
    )
    return found | {"holds": holds}


PARTS: dict[str, Part] = {
    "mutated": mutated,
    "writers": writers,
    "crash_points": crash_points,
    "each_step": each_step,
    "each_decoded_step": each_decoded_step,
    "attacked": attacked,
    "malformed": malformed,
    "strange_folders": strange_folders,
    "strange_outputs": strange_outputs,
    "forged_sizes": forged_sizes,
    "damaged_stores": damaged_stores,
    "terminations": terminations,
    "whole_runs": whole_runs,
    "lost_streams": lost_streams,
    "requests": requests,
    "foreign_modules": foreign_modules,
    "failed_calls": failed_calls,
    "disagreeing": disagreeing,
    "hostile_names": hostile_names,
    "killed_claims": killed_claims,
    "costs": costs,
}


def main() -> int:
    """Run the parts asked for, print and record each result; return 1 when one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cases per part: two minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--record", type=Path, help="JSON file for the results")
    options = parser.parse_args()

    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in options.only:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=f"cnnlab-{name}-") as folder:
            results[name] = _attempt(PARTS[name], Path(folder), options.quick)
        results[name]["seconds"] = round(time.perf_counter() - started, 1)
        results[name]["revision"] = _revision()
        print(f"{name}: {json.dumps(results[name])}", flush=True)
        if options.record is not None:
            _record(options.record, results)

    holds = all(result["holds"] for result in results.values())
    print("everything holds" if holds else "NOT everything holds")
    return 0 if holds else 1


def _record(path: Path, results: dict[str, Any]) -> None:
    """Write the results so far; parts of earlier calls stay until they are run again."""
    earlier = json.loads(path.read_text())["parts"] if path.exists() else {}
    path.write_text(json.dumps(_machine() | {"parts": earlier | results}, indent=2) + "\n")


def _attempt(part: Part, folder: Path, quick: bool) -> dict[str, Any]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return part(folder, quick)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return {"holds": False, "error": f"{type(error).__name__}: {str(error)[:1000]}"}
    finally:
        os.chdir(before)


def _script(name: str, *arguments: object, variables: Mapping[str, str] | None = None) -> Any:
    """Run a part that forks or measures memory, in a process of its own; return its JSON."""
    words = [sys.executable, str(ROOT / "scripts" / "torture" / name), *map(str, arguments)]
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search}
    environment |= variables or {}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def _revision() -> str | None:
    source = provenance.describe()["git"]
    return source and source["revision"][:7]


def _machine() -> dict[str, Any]:
    facts = provenance.describe()
    return {
        "date": datetime.date.today().isoformat(),
        "cnnlab": __version__,
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "versions": facts["versions"],
        "git": facts["git"],
    }


if __name__ == "__main__":
    sys.exit(main())
