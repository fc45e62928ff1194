"""A stranger's run folder: no link in it is followed, no pipe waited for, no size believed."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnlab import checkpoint, run_folder
from cnnlab.command import failures
from cnnlab.console import Console
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.files import regular
from cnnlab.inference.members import checkpoint_files
from cnnlab.run_folder import RunFolder, names
from cnnlab.run_folder.record import FILES, FOLDERS
from cnnlab.trainer.member_processes import epochs_of
from cnnlab.writers import CsvWriter, JsonlWriter, read_epochs
from scripts.torture.command import call
from scripts.torture.strangers import KINDS, TINY, forged_sizes, put

STRANGE = ("pipe", "link", "link_to_folder", "dangling_link", "endless")
METRICS = {"metrics.jsonl": JsonlWriter, "metrics.csv": CsvWriter}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run folder with every file and folder, and a file outside it that is precious."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious\n")
    (tmp_path / "precious" / "last.safetensors.tmp-1").write_text("precious\n")
    claimed = run_folder.claim("x", exact=tmp_path / "run")
    claimed.write_config({"seed": 0})
    claimed.release()
    return claimed


def assert_precious(tmp_path: Path) -> None:
    found = {path.name: path.read_text() for path in (tmp_path / "precious").iterdir()}
    assert found == {"file": "precious\n", "last.safetensors.tmp-1": "precious\n"}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize(
    "name",
    [
        *FILES,
        *FOLDERS,
        *(f"checkpoints/{n}.safetensors" for n in ("last", "best", "step_00000007")),
    ],
)
def test_no_run_is_written_in_which_a_name_of_ours_is_a_link_or_a_pipe(
    run: RunFolder, tmp_path: Path, name: str, kind: str
) -> None:
    put(kind, run.path / name, tmp_path / "precious")
    with pytest.raises(CheckpointError) as caught:
        run.lock()
    assert caught.value.exit_code == 4
    assert caught.value.where == str(run.path / name)
    assert "remove it" in caught.value.hint
    assert_precious(tmp_path)


READERS: dict[str, list[Callable[[RunFolder], object]]] = {
    "run.json": [RunFolder.status, lambda run: checkpoint_files([str(run.path)])],
    "config.yaml": [RunFolder.read_config],
    "metrics.jsonl": [lambda run: JsonlWriter(run.metrics_file), lambda r: epochs_of(r.path)],
    "metrics.csv": [
        lambda run: CsvWriter(run.path / "metrics.csv"),
        lambda run: read_epochs(run.path / "metrics.csv"),
    ],
    "train.log": [lambda run: Console(stream=io.StringIO()).log_to(run.log_file)],
    "checkpoints": [
        lambda run: run_folder.newest_checkpoint(run, print),
        lambda run: run_folder.resolve_checkpoint(run.path),
    ],
    "checkpoints/best.safetensors": [lambda run: run_folder.resolve_checkpoint(run.path)],
    "checkpoints/step_00000007.safetensors": [lambda run: names.kept(run.checkpoints)],
}


FINE = {
    ("train.log", "huge"): "a log may be long: it is appended to",
    ("checkpoints", "huge"): "a file that is no folder of checkpoints",
    ("checkpoints/best.safetensors", "huge"): "its digest is compared, piece by piece",
    ("checkpoints/step_00000007.safetensors", "huge"): "so is its own",
    ("checkpoints", "folder"): "it is one",
}
STRANGE_OF_EACH = [(name, kind) for name in READERS for kind in KINDS if (name, kind) not in FINE]


@pytest.mark.parametrize(("name", "kind"), STRANGE_OF_EACH)
def test_whoever_opens_a_file_of_a_run_opens_no_other_thing(
    run: RunFolder, tmp_path: Path, name: str, kind: str
) -> None:
    put(kind, run.path / name, tmp_path / "precious")
    for read in READERS[name]:
        with pytest.raises(CheckpointError) as caught:
            read(run)
        assert caught.value.where == str(run.path / name)
    assert_precious(tmp_path)


def test_a_folder_where_a_library_is_to_write_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "probabilities.npy").mkdir()
    with pytest.raises(CheckpointError, match="a file of the run is a folder"):
        regular.remove_before_writing(tmp_path / "probabilities.npy")


def test_every_file_that_a_run_writes_into_has_a_reader_that_is_tried() -> None:
    assert {*FILES} - READERS.keys() == {"lock"}  # locked before it is read


@pytest.mark.parametrize("kind", STRANGE)
def test_a_run_that_cannot_be_read_is_listed_as_such_beside_the_others(
    run: RunFolder, tmp_path: Path, kind: str
) -> None:
    run_folder.claim("y", exact=tmp_path / "other").release()
    put(kind, run.status_file, tmp_path / "precious")
    listed = {Path(facts["path"]).name: facts["status"] for facts in run_folder.list_runs(tmp_path)}
    assert listed == {"run": "unreadable", "other": "killed"}


def test_a_lock_that_is_a_pipe_holds_nobody_up(run: RunFolder, tmp_path: Path) -> None:
    put("pipe", run.path / "lock", tmp_path / "precious")
    assert run_folder.list_runs(tmp_path)[0]["status"] == "killed"


def test_the_traceback_of_a_failed_run_goes_into_no_other_file(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("link", run.log_file, tmp_path / "precious")
    assert failures.report(RuntimeError("x"), "bug", 1, str(run.log_file)) == 1
    assert_precious(tmp_path)
    assert capsys.readouterr().err == "cnnlab: bug\n"


def test_a_run_folder_reached_through_a_link_of_the_user_is_a_run_folder(
    run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "outputs").symlink_to(tmp_path)
    (tmp_path / "mine").symlink_to(run.path)
    for path in (tmp_path / "outputs" / "run", tmp_path / "mine"):
        found = run_folder.find_run(path)
        found.lock()
        found.update_status(status="done")
        found.release()
    assert run.status()["status"] == "done"


@pytest.mark.parametrize("earlier", [False, True])
def test_an_ensemble_has_no_member_behind_a_link(
    run: RunFolder, tmp_path: Path, earlier: bool
) -> None:
    facts = {"members": 1, "seed": 0} if earlier else {"member_runs": ["members/00_seed0"]}
    run.update_status(**facts)
    shutil.move(run.path / "checkpoints", tmp_path / "precious" / "00_seed0")
    (run.path / "members").symlink_to(tmp_path / "precious")
    with pytest.raises(CheckpointError, match="outside its folder"):
        checkpoint_files([str(run.path)])


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "run"
    assert call(*TINY, f"hydra.run.dir={folder}").code == 0
    return folder / "checkpoints" / "last.safetensors"


DIGITS = "9" * 400


@pytest.mark.parametrize(
    "line",
    [
        f'{{"step": {DIGITS}}}',
        f'{{"step": {DIGITS * 20}}}',
        "[" * 100_000,
        '{"step":' * 50_000,
        '{"step": 1e999}',
        '{"step": [1]}',
        "\0" * 100,
        "\udcff",
    ],
    ids=lambda line: line[:12],
)
def test_a_line_that_is_no_record_does_not_survive_a_resume_and_stops_nobody(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1, "epoch": 1}}\n{line}\n', errors="surrogateescape")
    JsonlWriter(path, from_step=5).close()
    assert path.read_text() == '{"step": 1, "epoch": 1}\n'


@pytest.mark.parametrize("name", METRICS)
def test_a_line_without_an_end_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x" * (regular.MOST_LINE_BYTES + 1))
    with pytest.raises(CheckpointError, match="a line of more than 1,048,576 bytes"):
        METRICS[name](tmp_path / name)


@pytest.mark.parametrize(
    "rows",
    ["step,epoch\n1,x\n", "step,epoch\n" + "1" * 200_000 + ",2\n", "a\n\0\n"],
    ids=["word", "digits", "zero"],
)
def test_a_damaged_table_of_epochs_is_named(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(rows)
    with pytest.raises(CheckpointError, match="table of a run's epochs") as caught:
        read_epochs(path)
    assert caught.value.where == str(path)


def test_no_number_of_a_strangers_run_json_is_too_large_for_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = ("1e999", DIGITS, DIGITS * 20, "[" * 50_000, "NaN", '"\\ud800"')
    for number, value in enumerate(values):
        held = tmp_path / "outputs" / str(number) / "run.json"
        held.parent.mkdir(parents=True)
        held.write_text(f'{{"test_error": {value}, "status": {value}}}')

    monkeypatch.chdir(tmp_path)
    for form in ("text", "json"):
        outcome = call("list", "runs", f"format={form}")
        assert (outcome.code, outcome.errors) == (0, "")
        assert outcome.output.count("outputs/") == len(values)


@pytest.mark.parametrize("held", ["2020-01-01", "!!binary aGk=", "!!set {x}", ".nan", "{1: 2}"])
def test_a_config_holds_what_json_holds(run: RunFolder, held: str) -> None:
    run.config_file.write_text(f"seed: {held}\n")
    with pytest.raises(UsageError, match="not plain YAML"):
        run.read_config()


def test_a_resumed_run_touches_nothing_outside_its_folder(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    """Whole commands, since what they open is not known beforehand."""
    made = small_checkpoint.parents[1]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious\n")

    for number, name in enumerate(("train.log", "checkpoints")):
        run = shutil.copytree(made, tmp_path / str(number))
        kind = "link_to_folder" if name == "checkpoints" else "link"
        put(kind, run / name, tmp_path / "precious")
        outcome = call("train", f"resume={run}", "trainer.epochs=2")
        assert outcome.code == 4, outcome.errors
        assert outcome.is_clean
        assert str(run / name) in outcome.errors
    assert [path.read_text() for path in (tmp_path / "precious").iterdir()] == ["precious\n"]
    assert json.loads((made / "run.json").read_text())["status"] == "done"
    assert os.path.islink(tmp_path / "0" / "train.log")


@pytest.mark.slow
def test_no_size_in_a_strangers_checkpoint_is_a_bug(tmp_path: Path) -> None:
    found = forged_sizes(tmp_path)
    assert found["tried"] > 100
    assert found["unclean"] == []


@pytest.mark.parametrize(
    ("section", "key"),
    [("dataset", "image_size_pixels"), ("dataset", "num_test"), ("dataset", "pad_pixels")],
)
def test_a_size_of_a_thousand_million_in_a_checkpoint_is_refused(
    small_checkpoint: Path, tmp_path: Path, section: str, key: str
) -> None:
    held = checkpoint.read(small_checkpoint)
    config = held.document["config"]
    forged = held.document | {"config": config | {section: config[section] | {key: 10**9}}}
    checkpoint.write(tmp_path / "forged.safetensors", held.tensors, forged)
    outcome = call("evaluate", f"checkpoint={tmp_path / 'forged.safetensors'}")
    assert outcome.code in (2, 4), outcome.errors
    assert outcome.is_clean


def test_an_input_of_a_thousand_million_pixels_in_a_checkpoint_is_refused(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    held = checkpoint.read(small_checkpoint)
    forged = held.document | {"input": held.document["input"] | {"image_size_pixels": 10**9}}
    checkpoint.write(tmp_path / "forged.safetensors", held.tensors, forged)
    outcome = call("visualize", f"checkpoint={tmp_path / 'forged.safetensors'}", "what=filters")
    assert outcome.code == 4, outcome.errors


def test_an_integer_of_a_checkpoint_has_as_many_digits_as_a_seed(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "a.safetensors", {}, {"step": 10**20})
    with pytest.raises(CheckpointError, match="malformed"):
        checkpoint.read(tmp_path / "a.safetensors")
