"""How many processors this process may use: by its affinity, its container's quota, and its share.

`os.cpu_count` tells of the whole machine: a container with two processors of a host of 64 would
start 64 threads. Everything that starts threads or processes asks `budget` instead. Only Linux
tells all of it; elsewhere every processor counts. Imports no torch.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cnnlab.errors import UsageError

SHARE_VARIABLE = "CNNLAB_PROCESSORS"
"""The most processors that a process of cnnlab takes; set for the members of an ensemble."""


@dataclass(frozen=True)
class Budget:
    """What this process may use at the same time.

    processors: logical ones, for work that waits for memory and disks, such as decoding. cores:
    physical ones, for arithmetic, which two logical processors of one core do not speed up.
    limit: what makes them fewer than the machine has, in a few words; "" where nothing does.
    """

    processors: int
    cores: int
    limit: str = ""


def budget(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Budget:
    """Return what this process may use; at least one processor.

    root: where /proc and /sys are. A quota of 2.5 processors counts as two: threads that wait for
    one another would all wait while one of them has used up the quota. The processes that torchrun
    starts on one machine have equal shares. Raises UsageError for a CNNLAB_PROCESSORS that is no
    number.
    """
    allowed = _allowed()
    cores = _num_cores(allowed, root)
    processors = len(allowed)
    limit = "" if processors == (os.cpu_count() or 1) else "affinity"

    shares = _num_shares(environment)
    for most, name in (
        (_quota(root), "the container's quota"),
        (None if shares == 1 else processors // shares, f"{shares} processes on this machine"),
        (_asked(environment), SHARE_VARIABLE),
    ):
        if most is not None and max(1, most) < processors:
            processors, limit = max(1, most), name
    return Budget(processors, min(cores, processors), limit)


def share(num_processes: int, own: Budget) -> dict[str, str]:
    """Return the variable that gives each of several processes an equal part of what is ours."""
    return {SHARE_VARIABLE: str(max(1, own.processors // num_processes))}


def _allowed() -> set[int]:
    """Return the numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _num_cores(processors: set[int], root: Path) -> int:
    """Return how many physical cores the processors are on; each is one where none is told."""
    cores = set()
    for number in processors:
        topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
        siblings = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list")
        cores.add(siblings or f"cpu{number}")
    return len(cores)


def _num_shares(environment: Mapping[str, str]) -> int:
    """Return how many processes torchrun started on this machine; one without it."""
    words = environment.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(words)) if "RANK" in environment and words.isdecimal() else 1


def _asked(environment: Mapping[str, str]) -> int | None:
    words = environment.get(SHARE_VARIABLE)
    if words is None:
        return None
    if not words.isdecimal() or int(words) < 1:
        raise UsageError(
            f"{SHARE_VARIABLE}={words!r} in the environment is no number of processors",
            hint="unset it, or set it to a whole number of at least 1",
        )
    return int(words)


def _quota(root: Path) -> int | None:
    """Return how many whole processors the control groups of this process grant; None: no limit.

    The smallest counts of its own group and of all around it that this process can see.
    """
    found = [
        granted
        for folder in _groups(root)
        if (granted := _granted_v2(folder) or _granted_v1(folder)) is not None
    ]
    return int(min(found)) if found else None


def _granted_v2(folder: Path) -> float | None:
    """Return the processors of `cpu.max`: "200000 100000" is two, "max 100000" is no limit."""
    words = _text(folder / "cpu.max").split()
    return _ratio(*words) if len(words) == 2 else None


def _granted_v1(folder: Path) -> float | None:
    """Return the processors of `cpu.cfs_quota_us`; -1 is no limit."""
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
        return None
    return int(quota) / int(period)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that limit this process's processor time.

    Its own group and those around it, up to the mount point. Source: cgroups(7), proc(5).
    """
    paths = dict(_own_groups(root))
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(), "", "", ""][:3]
        version = "cgroup2" if kind == "cgroup2" else f"{kind}:{'cpu' in options.split(',')}"
        if version not in paths or len(words := before.split()) < 5:
            continue

        mounted, place = PurePosixPath(words[3]), root / words[4].lstrip("/")
        own = PurePosixPath(paths[version])
        # in a container with a view of its own, the mount shows the group itself
        inside = own.relative_to(mounted) if own.is_relative_to(mounted) else PurePosixPath()
        yield from (place / part for part in (inside, *inside.parents))


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (version, path) of this process's groups: `cgroup2`, or `cgroup:True` of version 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "cgroup2", path
        elif "cpu" in controllers.split(","):
            yield "cgroup:True", path


def _text(path: Path) -> str:
    """Return the text of a small file of the system without its last line break; "" without it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
