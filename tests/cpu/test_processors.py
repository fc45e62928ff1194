"""Every count of threads and processes comes from what this process may use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlab.cpu.processors import SHARE_VARIABLE, Budget, budget, share
from cnnlab.errors import UsageError

V2 = "0::/{own}\n"
V1 = "5:memory:/elsewhere\n4:cpu,cpuacct:/{own}\n"
MOUNT_V2 = "31 23 0:28 {mounted} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
MOUNT_V1 = "32 31 0:29 {mounted} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


SOURCE = Path(__file__).parents[2] / "src" / "cnnlab"
PLACES = {
    "cpu_count": {"cpu/processors.py", "run_folder/provenance.py"},  # the latter: of the machine
    "sched_getaffinity": {"cpu/processors.py"},
    "set_num_threads": {"runtime.py"},
}


@pytest.mark.parametrize("name", PLACES)
def test_processors_and_threads_are_counted_in_one_place(name: str) -> None:
    named = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if f".{name}(" in path.read_text(encoding="utf-8")
    }
    assert named == PLACES[name]


@pytest.fixture(autouse=True)
def _eight_of_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of 16 logical processors, of which this process may run on the first eight."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def host(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text(mounts)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    place = f"cpu/{folder}".rstrip("/")
    return {f"{place}/cpu.cfs_quota_us": str(quota), f"{place}/cpu.cfs_period_us": str(period)}


QUOTAS = {
    "version 2, own group": (V2, MOUNT_V2, "box", "/", {"box/cpu.max": "200000 100000"}, 2),
    "version 2, no limit": (V2, MOUNT_V2, "box", "/", {"box/cpu.max": "max 100000"}, 8),
    "version 2, the group around it": (
        V2, MOUNT_V2, "pod/box", "/",
        {"pod/cpu.max": "300000 100000", "pod/box/cpu.max": "max 100000"}, 3,
    ),
    "version 2, a part of a processor more": (
        V2, MOUNT_V2, "box", "/", {"box/cpu.max": "290000 100000"}, 2,
    ),
    "version 2, less than one": (V2, MOUNT_V2, "box", "/", {"box/cpu.max": "50000 100000"}, 1),
    "version 2, more than the affinity": (
        V2, MOUNT_V2, "box", "/", {"box/cpu.max": "1200000 100000"}, 8,
    ),
    "version 2, mounted in a container": (
        V2, MOUNT_V2, "host/box", "/host/box", {"cpu.max": "200000 100000"}, 2,
    ),
    "version 2, a view of its own": (V2, MOUNT_V2, "", "/", {"cpu.max": "200000 100000"}, 2),
    "version 2, garbage": (V2, MOUNT_V2, "box", "/", {"box/cpu.max": "two of three"}, 8),
    "version 1, own group": (V1, MOUNT_V1, "box", "/", v1("box", 400_000), 4),
    "version 1, no limit": (V1, MOUNT_V1, "box", "/", v1("box", -1), 8),
    "version 1, mounted in a container": (V1, MOUNT_V1, "a/box", "/a/box", v1("", 300_000), 3),
    "version 1, another period": (V1, MOUNT_V1, "box", "/", v1("box", 100_000, 50_000), 2),
    "version 1, a period of nothing": (V1, MOUNT_V1, "box", "/", v1("box", 100_000, 0), 8),
    "no group at all": ("", "", "", "/", {}, 8),
}  # fmt: skip


@pytest.mark.parametrize("case", QUOTAS.values(), ids=QUOTAS)
def test_a_container_grants_its_quota(
    case: tuple[str, str, str, str, dict[str, str], int], tmp_path: Path
) -> None:
    groups, mounts, own, mounted, files, expected = case
    root = host(tmp_path, groups.format(own=own), mounts.format(mounted=mounted), files)

    found = budget(root, {})

    assert found.processors == expected
    assert found.limit == ("affinity" if expected == 8 else "the container's quota")


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_two_logical_processors_of_one_core_count_once(name: str, tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / name).write_text(f"{number % 4},{number % 4 + 4}\n")

    assert budget(tmp_path, {}) == Budget(processors=8, cores=4, limit="affinity")


SHARES = [
    ({}, 8),
    ({"RANK": "0", "LOCAL_WORLD_SIZE": "2"}, 4),
    ({"RANK": "1", "LOCAL_WORLD_SIZE": "3"}, 2),
    ({"RANK": "1", "LOCAL_WORLD_SIZE": "16"}, 1),
    ({"LOCAL_WORLD_SIZE": "2"}, 8),
    ({"RANK": "0", "LOCAL_WORLD_SIZE": "many"}, 8),
    ({SHARE_VARIABLE: "3"}, 3),
    ({SHARE_VARIABLE: "30"}, 8),
    ({SHARE_VARIABLE: "3", "RANK": "0", "LOCAL_WORLD_SIZE": "4"}, 2),
]


@pytest.mark.parametrize(("environment", "expected"), SHARES)
def test_processes_on_one_machine_share_it(
    environment: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert budget(tmp_path, environment).processors == expected
    assert budget(tmp_path, environment).cores == expected


@pytest.mark.parametrize(("members", "each"), [(1, 8), (2, 4), (3, 2), (20, 1)])
def test_members_that_train_at_once_share_it_too(members: int, each: int, tmp_path: Path) -> None:
    variables = share(members, budget(tmp_path, {}))
    assert budget(tmp_path, variables).processors == each


@pytest.mark.parametrize("words", ["", "0", "-1", "two", "1.5"])
def test_a_share_that_is_no_number_is_refused(words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{SHARE_VARIABLE}='{words}'"):
        budget(tmp_path, {SHARE_VARIABLE: words})


def test_a_system_that_tells_nothing_has_all_its_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As macOS, whose Python has no sched_getaffinity, and which has neither /proc nor /sys."""
    monkeypatch.delattr(os, "sched_getaffinity")
    assert budget(tmp_path, {}) == Budget(processors=16, cores=16)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert budget(tmp_path, {}) == Budget(processors=1, cores=1)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="there is no taskset")
def test_taskset_is_obeyed() -> None:
    program = "from cnnlab.cpu.processors import budget; print(budget())"
    command = ["taskset", "-c", "0", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "processors=1, cores=1" in done.stdout
