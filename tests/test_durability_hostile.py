"""Files and words of strangers: refused in words, never executed, never shown raw."""

import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.conversion.inert_pickle import load_tensors
from cnnlab.errors import CheckpointError
from cnnlab.files import foreign
from cnnlab.safe_output import escape_control
from cnnlab.visualization import figures
from cnnlab.visualization.probe import Probe
from scripts.torture import payloads, runs, settings
from scripts.torture.command import Outcome, call
from scripts.torture.mutations import seal

NASTY = "cat\x1b]0;owned\x07\r\n\x1b[2J\u202edog"
SETTINGS = (*runs.SHORT, *runs.STEPS_24, "trainer.epochs=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    outcome = call(*SETTINGS, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.errors
    return folder / "checkpoints" / "last.safetensors"


def forge(trained: Path, path: Path, **changes: object) -> Path:
    """Write the checkpoint anew, properly, with a document of the attacker's."""
    held = checkpoint.read(trained)
    checkpoint.write(path, held.tensors, held.document | changes)
    return path


def evaluate(path: Path, *words: str) -> Outcome:
    return call("evaluate", f"checkpoint={path}", "runtime.device=cpu", *words)


def test_no_pickle_is_opened_by_any_command(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    chosen = payloads.files(tmp_path, marker)
    assert len(chosen) == 25
    assert payloads.payloads_work(tmp_path)
    for number, path in enumerate(chosen[:24:4]):
        words = payloads.commands(path)[number]
        outcome = call(*words)
        assert not marker.exists(), words
        assert outcome.is_clean, outcome.errors
        assert outcome.code in payloads.REFUSED, (words, outcome)


def test_a_refused_pickle_is_named_for_what_it_would_call(tmp_path: Path) -> None:
    pickles = [path for path in payloads.files(tmp_path, tmp_path / "marker") if is_pickle(path)]
    assert len(pickles) == 22
    for path in pickles:
        with pytest.raises(CheckpointError, match=CALLED):
            checkpoint.read(path)
        if path.suffix != ".tar":
            with pytest.raises(CheckpointError, match=CALLED):
                load_tensors(path)
    assert not (tmp_path / "marker").exists()


CALLED = (
    r"it would call (posix.system|(builtins|__builtin__).(eval|exec)|io.open), which no weights"
)


def is_pickle(path: Path) -> bool:
    return path.suffix != ".safetensors" or path.name.startswith("renamed")


def test_weights_of_torch_are_not_called_hostile_and_looking_takes_no_time(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": torch.nn.Parameter(torch.ones(2))}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="cnnlab convert source=FILE"):
        checkpoint.read(tmp_path / "w.pt")
    for unit in (b"c", b"ca", b"\x8c1a", b"ca\n"):
        started = time.process_time()
        assert isinstance(foreign.pickle_warning(unit * (foreign.LOOK_BYTES // len(unit))), str)
        assert time.process_time() - started < 1.0


@pytest.mark.slow
def test_none_of_25_payloads_is_opened_by_any_command(tmp_path: Path) -> None:
    found = payloads.attack_all(tmp_path)
    assert found["executed"] == found["unclean"] == found["accepted"] == []


@pytest.mark.slow
def test_malformed_settings_get_an_answer_and_no_traceback(tmp_path: Path) -> None:
    found = settings.malform(tmp_path, 12, seed=3)
    assert found["first_run"] == 0
    assert found["unclean"] == []


@pytest.mark.slow
def test_500_malformed_settings_get_an_answer_and_no_traceback(tmp_path: Path) -> None:
    assert settings.malform(tmp_path, 500, seed=4)["unclean"] == []


def test_a_deflated_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(b"PK\x03\x04" + bytes(500_000))
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        checkpoint.read(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_compressed_weights_are_not_unpacked_by_convert_either(tmp_path: Path) -> None:
    packed = payloads.bomb(tmp_path)
    assert packed.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="is not unpacked"):
        load_tensors(packed)
    torch.save({"w": torch.zeros(3)}, tmp_path / "plain.pt")
    assert load_tensors(tmp_path / "plain.pt")["w"].shape == (3,)


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "os.system", "_args_": ["touch marker"]},
        {"model": {"_target_": "os.system"}},
        {"model": "!!python/object/apply:os.system ['touch marker']"},
        {"model": {"name": "${oc.env:HOME}"}},
        {"model": {"name": "hydra:runtime.cwd"}},
        {"model": {"name": "os.system"}},
        {"model": {"name": "../../etc/passwd"}},
        {"model": {"name": ["lenet5"]}},
        {"model": []},
        [],
        None,
    ],
)
def test_a_strangers_config_is_data_and_refused_as_such(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: object
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/a/secret/place")
    forged = forge(trained, tmp_path / "forged.safetensors", config=config)
    for outcome in (evaluate(forged), call("visualize", f"checkpoint={forged}")):
        assert outcome.code == 4, outcome.errors
        assert outcome.is_clean
        assert "secret" not in outcome.output + outcome.errors
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("key", ["model", "class_names", "input", "config", "data_digest"])
@pytest.mark.parametrize("value", [None, "x", {"a": 1}, [[[]]], -1])
def test_any_part_of_a_document_may_be_nonsense(
    trained: Path, tmp_path: Path, key: str, value: object
) -> None:
    forged = forge(trained, tmp_path / "forged.safetensors", **{key: value})
    outcome = evaluate(forged)
    if key != "data_digest":  # evaluation does not ask which images the network was trained on
        assert outcome.code in (3, 4), (outcome.code, outcome.errors)
    assert outcome.is_clean, outcome.errors


@pytest.mark.parametrize("num_classes", [10**8, 10**12, 10**30, -1, 0])
def test_a_model_of_absurd_size_is_refused_before_it_is_built(
    trained: Path, tmp_path: Path, num_classes: int
) -> None:
    held = checkpoint.read(trained).document
    sizes = held["model"] | {"num_classes": num_classes}
    forged = forge(trained, tmp_path / "forged.safetensors", model=sizes)
    outcome = evaluate(forged)
    assert outcome.code == 4, outcome.errors
    assert outcome.is_clean


def test_class_names_with_control_characters_are_kept_and_shown_escaped(
    trained: Path, tmp_path: Path
) -> None:
    names = [f"{NASTY}{k}" for k in range(10)]
    forged = forge(trained, tmp_path / "forged.safetensors", class_names=names)
    assert checkpoint.read(forged).document["class_names"] == names
    for outcome in (evaluate(forged), evaluate(forged, "evaluation=five_crop")):
        shown = outcome.output + outcome.errors
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown
        assert outcome.is_clean, outcome.errors


@pytest.mark.parametrize("verb", ["evaluate checkpoint", "train resume", "train dataset.root"])
def test_messages_hold_no_control_characters(tmp_path: Path, verb: str) -> None:
    words = [*verb.split()[:-1], f"{verb.split()[-1]}={tmp_path}/{NASTY}"]
    outcome = call(*words)
    assert outcome.code in (2, 3, 4), outcome
    assert outcome.is_clean
    assert all(line.isprintable() for line in outcome.errors.split("\n")), outcome.errors


def test_letters_of_every_script_stay_what_they_are() -> None:
    assert escape_control("Zürich, 北京, naïve café") == "Zürich, 北京, naïve café"
    assert escape_control("a\tb\n\x7f\x85\u2028") == r"a\tb\n\x7f\x85\u2028"


def test_a_strangers_run_folder_is_not_resolved(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "hunter2")
    folder = tmp_path / "run"
    shutil.copytree(trained.parent.parent, folder)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(
        config.replace("seed: 0", "seed: ${oc.env:SECRET_OF_MINE}", 1)
    )
    outcome = call("train", f"resume={folder}", "trainer.epochs=2")
    assert outcome.code == 2
    assert outcome.is_clean
    assert "hunter2" not in outcome.output + outcome.errors


def test_modules_named_in_a_strangers_run_folder_are_not_imported(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('marker', 'w').close()")
    folder = tmp_path / "run"
    shutil.copytree(trained.parent.parent, folder)
    text = (folder / "config.yaml").read_text()
    assert "plugins: []" in text
    (folder / "config.yaml").write_text(text.replace("plugins: []", "plugins: [evil]"))
    for words in (
        ["train", f"resume={folder}", "trainer.epochs=2"],
        ["evaluate", f"checkpoint={folder}"],
    ):
        outcome = call(*words)
        assert outcome.code == 0, outcome.errors
    assert not (tmp_path / "marker").exists()


def test_names_of_any_kind_can_be_drawn() -> None:
    """Warnings are errors here; what is no formula is not read as one."""
    names = ("a\x1b[31m\x07b", "$\\nonsense{$", "\u5317\u4eac", "x" * 300)
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    probe = Probe(images=image, labels=None, class_names=names, normalize=torch.Tensor.float)
    figure = figures.new_figure(3, 3, "names")
    axes = figure.subplots()
    axes.set_xticks(range(4), [probe.class_name(label) for label in range(4)])
    axes.set_title(probe.class_name(1))
    assert figures.to_pixels(figures.Picture("names", "names", "", figure)).shape[0] == 3
    assert "\x1b" not in probe.class_name(0)
    assert (probe.class_name(2), probe.class_name(7)) == (names[2], "7")


def test_a_page_of_a_run_escapes_what_it_shows(trained: Path) -> None:
    from cnnlab.reports import page as report

    page = trained.parent / "page.html"
    part = report.Text("<script>alert(1)</script>")
    report.write(page, "<img src=x onerror=alert(1)>", [report.Section("<b>", [part])])
    text = page.read_text()
    assert "<script>alert(1)" not in text
    assert "<img src=x" not in text


def test_a_forged_digest_alone_does_not_make_a_checkpoint(trained: Path, tmp_path: Path) -> None:
    data = bytearray(trained.read_bytes())
    data[120:160] = b" " * 40
    (tmp_path / "a").write_bytes(seal(bytes(data)))
    outcome = evaluate(tmp_path / "a")
    assert outcome.code == 4
    assert outcome.is_clean


def test_nan_weights_are_refused_by_evaluation_too(trained: Path, tmp_path: Path) -> None:
    data = bytearray(trained.read_bytes())
    data[-4:] = torch.tensor([float("inf")]).numpy().tobytes()
    (tmp_path / "a").write_bytes(seal(bytes(data)))
    outcome = evaluate(tmp_path / "a")
    assert outcome.code == 4
    assert "values that are not finite" in outcome.errors
