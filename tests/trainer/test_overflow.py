"""Weights that overflow: commands whose answer rests on scores end with 5; no JSON holds a NaN."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnlab
from cnnlab import checkpoint as files
from cnnlab.cli import main
from cnnlab.config import PICTURES
from cnnlab.errors import NumericsError
from cnnlab.inference.network import open_network
from cnnlab.inference.probing import probe_of
from cnnlab.models.init_report import report_start
from cnnlab.plain_json import json_text
from cnnlab.visualization import draw
from tests.app.test_evaluate import write_checkpoint
from tests.app.test_visualize import config_for, write_run
from tests.sources import nodes_of, trees

CPU = torch.device("cpu")
QUICK = ["runtime.device=cpu", "runtime.num_threads=1"]


def enlarge(path: Path, factor: float = 1e38) -> Path:
    """Multiply every weight of a checkpoint: finite numbers whose products are not."""
    held = files.read(path)
    tensors = {name: tensor.clone() for name, tensor in held.tensors.items()}
    for name, tensor in tensors.items():
        if name.startswith("model.") and name.endswith("weight"):
            tensor.div_(tensor.abs().max()).mul_(factor)
    files.write(path, tensors, dict(held.document))
    return path


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("overflowing") / "a.safetensors"
    return enlarge(write_checkpoint(path, network="lenet5"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "gray.png"
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(path)
    return path


@pytest.mark.parametrize("output_format", ["json", "csv", "text"])
def test_predict_prints_no_answer(overflowing, picture, output_format, capsys):
    words = [f"checkpoint={overflowing}", f"images={picture}", f"format={output_format}"]
    assert main(["predict", *words, *QUICK]) == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "scores are not finite" in printed.err
    assert "gray.png" in printed.err


def test_one_member_of_an_ensemble_is_enough(overflowing, picture, tmp_path, capsys):
    good = write_checkpoint(tmp_path / "good.safetensors", network="lenet5")
    words = [f"checkpoint=[{good},{overflowing}]", *QUICK]
    assert main(["predict", f"images={picture}", *words]) == 5
    assert main(["evaluate", "split=validation", *words]) == 5
    assert "Traceback" not in capsys.readouterr().err


def test_evaluate_says_5(overflowing, capsys):
    assert main(["evaluate", f"checkpoint={overflowing}", "format=json", *QUICK]) == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "scores are not finite" in printed.err


def test_load_raises_instead_of_naming_a_class(overflowing):
    with pytest.raises(NumericsError, match="scores are not finite"):
        cnnlab.load(overflowing, device="cpu").predict(np.zeros((2, 28, 28), np.uint8) + 9)


@pytest.mark.parametrize("ending", ["safetensors", "onnx"])
def test_convert_writes_nothing(overflowing, tmp_path, ending, capsys):
    output = tmp_path / f"out.{ending}"
    assert main(["convert", f"source={overflowing}", f"output={output}"]) == 5
    assert "scores are not finite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_picture_that_needs_the_network_is_refused(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    for path in (run / "checkpoints").iterdir():
        enlarge(path)
    stored = open_network(run / "checkpoints" / "best.safetensors", CPU)
    probe = probe_of(config_for(run, search_images=20), stored)
    for name in PICTURES:
        if name in ("filters", "filter_evolution"):  # kernels alone, which are finite
            assert draw(name, stored.network, probe)
        else:
            with pytest.raises(NumericsError, match="not finite"):
                draw(name, stored.network, probe)
    words = [f"checkpoint={run}", "what=[predictions]", "num_images=2"]
    assert main(["visualize", *words, *QUICK]) == 5
    assert "scores are not finite" in capsys.readouterr().err


def test_the_start_of_an_overflowing_network_is_no_report(overflowing):
    network = open_network(overflowing, CPU).network
    with pytest.raises(NumericsError, match=r"the output of \w+ is not finite"):
        report_start(network, torch.full((2, 1, 32, 32), 3.0))


RULES = {
    "sgd": ["experiment=debug", "optimizer=sgd"],
    "sgd_2012": ["experiment=debug", "optimizer=sgd_2012"],
    "adamw": ["experiment=debug", "optimizer=adamw"],
    "levenberg_marquardt": ["experiment=lenet5_1998", "optimizer.num_curvature_images=20"],
}


def test_every_update_rule_is_tried():
    from cnnlab.config.training import OPTIMIZERS

    assert RULES.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_diverges_ends_with_5_and_a_good_checkpoint(rule, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lean = ["logging.report=false", "logging.tensorboard=false", "runtime.num_threads=1"]
    few = ["trainer.epochs=3", "trainer.limit_train_batches=2", "trainer.batch_size=16"]
    steep = ["schedule=constant", "optimizer.learning_rate=1e30", "saving.every_steps=1"]
    words = [*RULES[rule], *few, *lean, *steep, "logging.images_every_epochs=null"]
    assert main(["train", *words, "hydra.run.dir=run"]) == 5
    said = capsys.readouterr().err
    assert "not finite" in said
    (line,) = [line for line in said.splitlines() if "last good checkpoint: " in line]
    kept = files.read(tmp_path / line.partition("last good checkpoint: ")[2])
    assert kept.document["step"] >= 1
    assert all(torch.isfinite(tensor).all() for tensor in kept.tensors.values())


def test_json_names_the_key_of_a_number_it_cannot_hold():
    with pytest.raises(NumericsError, match=r"images\[1\]\.probability is not finite"):
        json_text({"images": [{"probability": 0.5}, {"probability": float("nan")}]})
    assert json.loads(json_text({"a": [1, 2.5, None, "nan"]})) == {"a": [1, 2.5, None, "nan"]}


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    """Return the calls of a function or method of that name in the sources."""
    return [
        (path, node)
        for path in trees()
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and called(node) == name
    ]


def called(call: ast.Call) -> str:
    """Return the last name of what is called: `dumps` of `json.dumps(x)`."""
    named = getattr(call.func, "attr", getattr(call.func, "id", None))
    return named or ast.unparse(call.func).split(".")[-1]


def test_no_json_is_written_that_could_hold_a_nan():
    for path, call in [*calls("dumps"), *calls("dump")]:
        if not ast.unparse(call.func).startswith("json."):
            continue
        strict = any(
            keyword.arg == "allow_nan" and ast.unparse(keyword.value) == "False"
            for keyword in call.keywords
        )
        turned_to_null = path.name == "record.py" and ast.unparse(call.args[0]) == "facts"
        assert strict or turned_to_null, f"{path}:{call.lineno} needs allow_nan=False"


def test_scores_become_probabilities_in_one_place():
    places = {path.name for path, _ in [*calls("softmax"), *calls("log_softmax")]}
    assert places == {"numerics.py"}
