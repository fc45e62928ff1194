"""What a command proposes is a command that works, typed as it is printed."""

import shlex
from pathlib import Path

import pytest

from cnnlab.cli import main
from cnnlab.config import EVALUATIONS
from cnnlab.evaluation import views

FAST = [
    "model=linear",
    "runtime.num_threads=1",
    "trainer.epochs=1",
    "trainer.limit_train_batches=1",
    "dataset.num_validation=100",
    "logging.report=false",
    "logging.images_every_epochs=null",
]
SETTINGS = {
    "a border of training": ["augment=crop"],
    "no border": ["augment=none", "logging.tensorboard=false"],
    "five crops already": ["augment=crop", "evaluation=five_crop"],
    "a folder to be quoted": ["augment=none", "hydra.run.dir=my runs/it's [1], the first"],
    "a folder elsewhere": ["augment=none", "hydra.run.dir=X"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_the_last_lines_of_a_training_work(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, *words]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    proposed = [shlex.split(line) for line in lines[-3:] if line.startswith(("cnn", "tensor"))]
    by_program = {command[0] + " " + command[1]: command[1:] for command in proposed}

    watched = by_program.get("tensorboard --logdir")
    assert (watched is None) == ("logging.tensorboard=false" in words)
    if watched is not None:
        assert list(Path(watched[1]).rglob("events.out.tfevents.*"))
    assert main(by_program["cnnlab evaluate"]) == 0
    assert by_program["cnnlab train"] == PROPOSED_SWEEP


PROPOSED_SWEEP = ["train", "model=linear,mlp,lenet5", "-m"]


@pytest.mark.slow
def test_the_sweep_that_is_proposed_works(here: Path) -> None:
    few = ["trainer.epochs=1", "trainer.limit_train_batches=1", "logging.report=false"]
    lean = ["runtime.num_threads=1", "logging.images_every_epochs=null"]
    assert main([*PROPOSED_SWEEP, *few, *lean]) == 0


def test_views_are_admitted_exactly_where_they_are_not_refused() -> None:
    import torch

    for side, crop, border, mirror in [(28, 28, 0, True), (28, 28, 2, False), (32, 24, 0, True)]:
        found = views.admitted(side, crop, padding_pixels=border, mirror_allowed=mirror)
        for name in EVALUATIONS:
            given = {"padding_pixels": 0 if name == "center" else border}
            try:
                cut = views.build(name, crop_pixels=crop, mirror_allowed=mirror, **given)
                cut(torch.zeros(1, 1, side, side, dtype=torch.uint8))
            except views.UsageError:
                assert name not in found
            else:
                assert name in found


@pytest.mark.slow
def test_what_a_refusal_of_views_proposes_is_accepted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, "augment=none", "hydra.run.dir=run"]) == 0
    for refused, proposal in (
        ("ten_view", ["evaluation=center"]),
        ("ten_view", ["evaluation=five_crop", "evaluation.padding_pixels=2"]),
        ("five_crop", ["evaluation=five_crop", "evaluation.padding_pixels=2"]),
    ):
        capsys.readouterr()
        assert main(["evaluate", "checkpoint=run", f"evaluation={refused}"]) == 2
        assert proposal[-1] in capsys.readouterr().err
        assert main(["evaluate", "checkpoint=run", *proposal]) == 0


def test_views_that_the_images_do_not_admit_are_refused_before_training(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, "augment=none", "evaluation=five_crop"]) == 2
    assert "evaluation.padding_pixels=2" in capsys.readouterr().err
    assert not any(here.iterdir())


@pytest.mark.slow
def test_a_split_that_is_not_there_names_those_that_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none_held_out = ["dataset.num_validation=0", "hydra.run.dir=run"]
    assert main(["train", *FAST, "augment=none", *none_held_out]) == 0
    for verb in (["evaluate"], ["visualize", "what=[filters]"]):
        assert main([*verb, "checkpoint=run", "split=validation"]) == 3
        proposed = capsys.readouterr().err.partition("choose ")[2].strip().split(" or ")
        assert proposed == ["split=test", "split=train"]
        for word in proposed:
            assert main([*verb, "checkpoint=run", word]) == 0


def test_a_taken_folder_proposes_to_continue_only_what_is_a_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, "hydra.run.dir=my run"]) == 0
    assert main(["train", *FAST, "hydra.run.dir=my run"]) == 8
    said = capsys.readouterr().err
    command = said.partition("continue it: ")[2].partition(";")[0]
    assert main(shlex.split(command)[1:]) == 0

    Path("other").mkdir()
    Path("other/notes.txt").touch()
    assert main(["train", *FAST, "hydra.run.dir=other"]) == 8
    said = capsys.readouterr().err
    assert "not a run folder" in said
    assert "resume" not in said


def test_a_named_checkpoint_of_a_finished_run_is_gone_on_from(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ["trainer.epochs=2", "saving.keep=5", "hydra.run.dir=run"]
    assert main(["train", *[word for word in FAST if "epochs=1" not in word], *two]) == 0
    whole = Path("run/checkpoints/step_00000002.safetensors").read_bytes()
    capsys.readouterr()

    assert main(["train", "resume=run/checkpoints/step_00000001.safetensors"]) == 0

    out = capsys.readouterr().out
    assert "continuing after step 1 from run/checkpoints/step_00000001.safetensors" in out
    assert f"set aside: {here}/run/checkpoints/abandoned_1/step_00000002.safetensors" in out
    again = Path("run/checkpoints/step_00000002.safetensors")
    from cnnlab import checkpoint

    old = Path("run/checkpoints/abandoned_1/step_00000002.safetensors")
    assert old.read_bytes() == whole
    for name, tensor in checkpoint.read(old).tensors.items():
        assert tensor.equal(checkpoint.read(again).tensors[name])
