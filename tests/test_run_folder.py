"""Run folders: claimed once, written by one, found again, and honest about what is in them."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint, run_folder
from cnnlab.errors import BusyError, CheckpointError, ResourceError, UsageError
from cnnlab.run_folder import RunFolder, provenance
from cnnlab.run_folder.names import numbered, spread_over

HOLD = """
import sys, time
from cnnlab.run_folder import RunFolder
RunFolder(sys.argv[1]).lock()
print("held", flush=True)
time.sleep(600)
"""


def save(run: RunFolder, step: int, *, best: bool = False) -> Path:
    path = run.checkpoint_file(step)
    checkpoint.write(path, {"model.w": torch.full((50,), float(step))}, {"step": step})
    if best:
        run.mark(step, "best")
    run.mark(step, "last")
    run.prune(2)
    return path


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    claimed = run_folder.claim("lenet5_mnist5k", base=tmp_path)
    claimed.write_config({"seed": 0})
    return claimed


def test_a_run_is_named_by_date_time_model_and_data(tmp_path: Path) -> None:
    path = run_folder.claim("lenet5_mnist5k", base=tmp_path).path
    assert path.parent.parent == tmp_path
    assert path.name.endswith("_lenet5_mnist5k")
    assert "=" not in str(path.relative_to(tmp_path))


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    paths = {run_folder.claim("a_b", base=tmp_path).path for _ in range(5)}
    assert len(paths) == 5


def test_six_processes_that_claim_at_once_get_six_folders(tmp_path: Path) -> None:
    code = (
        "import sys; from cnnlab.run_folder import claim; print(claim('a', base=sys.argv[1]).path)"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate()[0] for process in started}) == 6


def test_an_exact_folder_is_claimed_once(tmp_path: Path) -> None:
    assert run_folder.claim("x", exact=tmp_path / "deep" / "mine").path == tmp_path / "deep/mine"
    with pytest.raises(BusyError, match="exists already") as caught:
        run_folder.claim("x", exact=tmp_path / "deep" / "mine")
    assert caught.value.exit_code == 8
    assert f"resume={tmp_path / 'deep' / 'mine'}" in caught.value.hint


def test_an_empty_exact_folder_may_be_used(tmp_path: Path) -> None:
    assert run_folder.claim("x", exact=tmp_path).path == tmp_path


def failed_run(path: Path) -> RunFolder:
    """Make what a run leaves that failed before its first checkpoint."""
    folder = run_folder.claim("x", exact=path)
    folder.log_file.write_text("began")
    (folder.tensorboard).mkdir()
    (folder.tensorboard / "events").write_text("few")
    folder.update_status(status="failed", error="a bad image")
    folder.release()
    return folder


def test_the_folder_of_a_run_that_failed_before_it_saved_may_be_named_again(tmp_path: Path) -> None:
    failed_run(tmp_path / "mine")
    failed_run(tmp_path / "mine" / "members" / "00_seed0")
    run_folder.retake(tmp_path / "mine")
    assert not any((tmp_path / "mine").iterdir())
    assert run_folder.claim("x", exact=tmp_path / "mine").status()["status"] == "running"


@pytest.mark.parametrize(
    "worth",
    ["metrics.csv", "checkpoints/last.safetensors", "checkpoints/step_00000001.safetensors",
     "notes.txt", "members/00_seed0/checkpoints/best.safetensors"],
)  # fmt: skip
@pytest.mark.parametrize("status", ["failed", "done"])
def test_a_folder_with_anything_of_worth_is_never_emptied(
    tmp_path: Path, worth: str, status: str
) -> None:
    run = failed_run(tmp_path / "mine")
    failed_run(tmp_path / "mine" / "members" / "00_seed0")
    run.update_status(status=status)
    (run.path / worth).write_text("of worth")
    before = sorted(path for path in run.path.rglob("*") if path.is_file())

    run_folder.retake(run.path)
    assert sorted(path for path in run.path.rglob("*") if path.is_file()) == before


def test_a_folder_that_somebody_writes_to_is_never_emptied(tmp_path: Path) -> None:
    run = failed_run(tmp_path / "mine")
    run.lock()
    with pytest.raises(BusyError, match="being written"):
        run_folder.retake(run.path)
    assert run.log_file.is_file()


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BusyError):
        run_folder.claim("x", exact=tmp_path / "file")
    with pytest.raises(ResourceError):
        run_folder.claim("x", base=tmp_path / "file")


@pytest.mark.parametrize("name", ["a=b", "a/b"])
def test_names_that_break_the_command_line_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        run_folder.claim(name, base=tmp_path)


def test_a_new_run_says_at_once_that_it_is_running(run: RunFolder) -> None:
    facts = run.status()
    assert facts["status"] == "running"
    assert facts["pid"] == os.getpid()


def test_the_second_writer_of_a_run_learns_pid_and_host_of_the_first(run: RunFolder) -> None:
    run.release()
    words = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=rf"process {holder.pid} on ") as caught:
            RunFolder(run.path).lock()
        assert caught.value.exit_code == 8
        assert [r["status"] for r in run_folder.list_runs(run.path.parent.parent)] == ["running"]
        holder.send_signal(signal.SIGKILL)
    assert str(holder.pid) in (run.path / "lock").read_text()
    RunFolder(run.path).lock()  # its note is stale and taken over
    assert str(os.getpid()) in (run.path / "lock").read_text()


def test_a_run_whose_writer_died_is_listed_as_killed(run: RunFolder) -> None:
    run.release()
    assert run_folder.list_runs(run.path.parent.parent)[0]["status"] == "killed"


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 9000])
def test_a_lock_with_a_strange_note_is_still_a_lock(run: RunFolder, note: bytes) -> None:
    (run.path / "lock").write_bytes(note)
    with pytest.raises(BusyError, match="another process"):
        RunFolder(run.path).lock()


def test_status_is_merged_and_always_valid_json(run: RunFolder) -> None:
    run.update_status(best=float("nan"), worst=float("inf"), text="\x1b[31m")
    run.update_status(status="done")
    facts = json.loads(run.status_file.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert facts["status"] == "done"
    assert facts["best"] is None
    assert "\x1b" not in run.status_file.read_text()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe"])
def test_a_broken_status_file_is_an_empty_one(run: RunFolder, content: bytes) -> None:
    run.status_file.write_bytes(content)
    assert run.status() == {}
    assert len(run_folder.list_runs(run.path.parent.parent)) == 1


def test_at_least_two_numbered_checkpoints_stay_and_best_and_last_always(run: RunFolder) -> None:
    for step in range(1, 7):
        save(run, step, best=step == 2)
        run.prune(1)
    kept = ["best.safetensors", "last.safetensors"]
    assert names(run) == [*kept, "step_00000005.safetensors", "step_00000006.safetensors"]
    assert checkpoint.read(run.checkpoints / "best.safetensors").document["step"] == 2
    assert checkpoint.read(run.checkpoints / "last.safetensors").document["step"] == 6


@pytest.mark.parametrize("epochs", [20, 64])
def test_checkpoints_kept_for_evolution_are_spread_from_the_first_to_the_last(
    run: RunFolder, epochs: int
) -> None:
    for step in range(70, 70 * epochs + 1, 70):
        run.checkpoint_file(step).touch()
        run.prune(2, 8, 70 * epochs)
        assert len(numbered(run.checkpoints)) <= 8 + 2

    steps = [step for step, _ in numbered(run.checkpoints)]
    every = list(range(70, 70 * epochs + 1, 70))
    assert set(steps) == spread_over(every, 8, 70 * epochs) | set(every[-2:])
    assert (steps[0], steps[-1]) == (70, 70 * epochs)
    wanted = {20: [1, 2, 4, 6, 9, 13, 19, 20], 64: [1, 2, 3, 6, 11, 20, 35, 63, 64]}
    assert [step // 70 for step in steps] == wanted[epochs]


def test_best_and_last_are_real_files(run: RunFolder) -> None:
    save(run, 1, best=True)
    assert not any(path.is_symlink() for path in run.checkpoints.iterdir())


def test_marking_the_same_checkpoint_twice_leaves_nothing_behind(run: RunFolder) -> None:
    save(run, 1, best=True)
    save(run, 1, best=True)
    run.mark(1, "last")
    assert names(run) == ["best.safetensors", "last.safetensors", "step_00000001.safetensors"]


def test_a_disk_without_hard_links_gets_copies(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    save(run, 3, best=True)
    assert checkpoint.read(run.checkpoints / "best.safetensors").document["step"] == 3
    assert len(names(run)) == 3


def test_resuming_takes_the_newest_checkpoint(run: RunFolder) -> None:
    for step in (1, 2, 30):
        save(run, step)
    warnings: list[str] = []
    assert run_folder.newest_checkpoint(run, warnings.append) == run.checkpoint_file(30)
    assert warnings == []


@pytest.mark.parametrize("kind", ["flipped", "truncated", "empty", "text"])
def test_damaged_checkpoints_are_passed_over_and_named(run: RunFolder, kind: str) -> None:
    save(run, 1)
    newest = save(run, 2)
    contents = {"truncated": newest.read_bytes()[:-7], "empty": b"", "text": b"hello" * 50}
    if kind == "flipped":
        damage(newest)
    else:
        newest.write_bytes(contents[kind])
    warnings: list[str] = []
    assert run_folder.newest_checkpoint(run, warnings.append) == run.checkpoint_file(1)
    assert len(warnings) == 1
    assert newest.name in warnings[0]


def test_the_run_of_a_checkpoint_is_the_folder_around_it(run: RunFolder) -> None:
    assert run_folder.find_run(save(run, 1)).path == run.path


def test_nothing_but_damaged_checkpoints_is_an_error_not_a_new_start(run: RunFolder) -> None:
    damage(save(run, 1))
    with pytest.raises(CheckpointError, match="all of the run's checkpoints are damaged"):
        run_folder.newest_checkpoint(run, lambda _: None)


def test_a_run_that_never_saved_starts_at_the_beginning(run: RunFolder) -> None:
    assert run_folder.newest_checkpoint(run, lambda _: None) is None


@pytest.mark.parametrize("where", ["nothing", "."])
def test_a_folder_that_is_no_run_says_how_to_start_one(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError, match="run folder") as caught:
        run_folder.find_run(tmp_path / where)
    assert "cnnlab train" in caught.value.hint


def test_latest_is_the_run_started_last_also_within_sweeps(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run yet"):
        run_folder.find_run("latest", base=tmp_path)
    run_folder.claim("a", base=tmp_path)
    swept = run_folder.claim("b", exact=tmp_path / "multirun" / "now" / "0_b")
    assert run_folder.find_run("latest", base=tmp_path).path == swept.path


def test_later_checkpoints_are_set_aside_not_lost(run: RunFolder) -> None:
    save(run, 1)
    save(run, 3, best=True)
    moved = run.set_aside_after(1)
    assert {path.name for path in moved} >= {"step_00000003.safetensors", "best.safetensors"}
    assert names(run) == ["abandoned_1", "step_00000001.safetensors"]
    assert all(checkpoint.read(path) for path in moved)
    assert run_folder.newest_checkpoint(run, lambda _: None) == run.checkpoint_file(1)
    save(run, 2)
    assert run.set_aside_after(1)[0].parent.name == "abandoned_2"


def test_evaluation_takes_best_then_last_then_the_highest_number(run: RunFolder) -> None:
    assert run_folder.resolve_checkpoint("some/file") == Path("some/file")
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        run_folder.resolve_checkpoint(run.path)
    save(run, 1)
    assert run_folder.resolve_checkpoint(run.path).name == "last.safetensors"
    save(run, 2, best=True)
    assert run_folder.resolve_checkpoint(run.path).name == "best.safetensors"
    base = run.path.parent.parent
    run_folder.claim("newer_without_checkpoint", base=base)
    found = run_folder.resolve_checkpoint("latest", base=base)
    assert found == run.checkpoints / "best.safetensors"


def test_leftovers_of_killed_writes_are_swept_by_the_next_writer(run: RunFolder) -> None:
    save(run, 1)
    leftover = run.checkpoints / "step_00000002.safetensors.tmp-4711"
    leftover.write_bytes(b"half")
    run.release()
    assert RunFolder(run.path).lock() == [leftover]
    assert not leftover.exists()


def test_the_config_file_comes_back_as_plain_data(run: RunFolder) -> None:
    plain = {"rate": 1e-5, "text": "1e-5", "none": None, "list": [1, "a"], "x": "${oc.env:HOME}"}
    run.write_config(plain)
    assert run.read_config() == plain


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x\n",
        "a: !!python/object/apply:os.system ['true']\n",
        "a: [\n",
        "- 1\n",
        "a: " + "[" * 5000 + "]" * 5000,
        "a: " + "x" * (1 << 20),
        "a: \x00",
    ],
)
def test_a_hostile_config_file_is_refused(run: RunFolder, text: str) -> None:
    run.config_file.write_text(text)
    with pytest.raises((UsageError, CheckpointError)):
        run.read_config()


def test_finding_runs_needs_no_torch() -> None:
    code = "import sys, cnnlab.run_folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_revision_of_a_checkout_is_noted(tmp_path: Path) -> None:
    versions = provenance.describe()["versions"]
    assert versions["torch"] == torch.__version__.split("+")[0]
    source = Path(provenance.__file__)
    (tmp_path / source.name).write_bytes(source.read_bytes())
    assert provenance.revision(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    assert provenance.revision(tmp_path)["dirty"] is False
    (tmp_path / source.name).write_text("changed")
    found = provenance.revision(tmp_path)
    assert found["dirty"] is True
    assert len(found["revision"]) == 40
