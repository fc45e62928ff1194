"""`cnnlab.train` and its companions: what they return, refuse and raise."""

import pickle
import signal
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import cnnlab
from cnnlab.command import calling
from cnnlab.command.literals import value_of
from cnnlab.errors import CheckpointError
from cnnlab.trainer import assemble
from tests.face.small import FEW, Listening


def train(*words: str, **settings: Any) -> cnnlab.Run:
    with redirect_stdout(StringIO()):
        return cnnlab.train(*FEW, *words, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> cnnlab.Run:
    folder = tmp_path_factory.mktemp("face") / "a run, with 'quotes'"
    return train(seed=3, **{"trainer.epochs": 2, "hydra.run.dir": folder})


def test_a_run_has_its_settings_figures_and_history(run: cnnlab.Run) -> None:
    assert run.status == "done"
    assert run.config["seed"] == 3
    assert run.test_error is not None
    assert 0 <= run.test_error <= 1
    assert run.figures["test_error"] == run.test_error == run.facts["test_error"]
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.validation_error == min(row["validation/top1_error"] for row in run.history)


def test_a_run_shows_itself_and_its_text_is_escaped(run: cnnlab.Run) -> None:
    shown = run._repr_html_()

    assert "linear on synthetic, done" in shown
    assert "&#x27;quotes&#x27;" in shown
    assert "<polyline" in shown
    assert "%, epochs 1 to 2" in shown
    assert "test error" in repr(run)


def test_a_forged_figure_of_a_run_is_damage(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "run.json").write_text('{"status": "done", "test_error": "x"}')

    with pytest.raises(CheckpointError, match="test_error is no number"):
        _ = cnnlab.Run(tmp_path).figures


def test_a_run_is_found_again_and_leaves_a_worker_process(run: cnnlab.Run) -> None:
    assert cnnlab.Run(run.folder) == cnnlab.Run(run) == pickle.loads(pickle.dumps(run)) == run
    with pytest.raises(cnnlab.UsageError, match="no such run folder"):
        cnnlab.Run(run.folder / "nowhere")


def test_the_network_of_a_run_is_a_module_that_knows_its_preprocessing(run: cnnlab.Run) -> None:
    images = cnnlab.datasets("synthetic", num_train=40, num_test=20, num_validation=10).test.images
    network = run.network

    scores = network(network.preprocess(images))
    found = network.predict(images)

    assert isinstance(network, nn.Module)
    assert not network.training
    torch.testing.assert_close(scores.softmax(1), found.probabilities)
    moved = cnnlab.load(run, device="cpu").to("meta")
    assert moved.members[0].preprocessing.mean.device.type == "meta"
    assert found.names[0] in found._repr_html_()


def test_an_ensemble_predicts_and_has_no_scores(run: cnnlab.Run) -> None:
    ensemble = cnnlab.load([run, run])
    images = np.zeros((2, 32, 32), np.uint8)

    assert ensemble.predict(images).names == run.network.predict(images).names
    with pytest.raises(cnnlab.UsageError, match="an ensemble of 2"):
        ensemble.preprocess(images)


def test_an_evaluation_is_that_of_the_command(run: cnnlab.Run) -> None:
    found = run.evaluate("runtime.num_threads=1", split="test")

    assert found.top1_error == run.test_error
    assert found.num_images == 48
    assert found.page is not None
    assert found.page.is_file()
    assert found.confusion is not None
    assert int(found.confusion.sum()) == 48
    assert "95 % interval" in found._repr_html_()


def test_files_folders_and_arrays_are_classified_alike(run: cnnlab.Run, tmp_path: Path) -> None:
    picture = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    Image.fromarray(picture).save(tmp_path / "a, b.png")

    of_file = run.predict(tmp_path / "a, b.png")
    of_folder = cnnlab.predict(str(tmp_path), checkpoint=run)
    of_array = run.predict(picture)
    of_tensors = run.predict([torch.from_numpy(picture)], which_weights="raw")

    assert of_file.files == of_folder.files == (tmp_path / "a, b.png",)
    for found in (of_folder, of_array, of_tensors):
        assert torch.equal(found.probabilities, of_file.probabilities)
    assert "a, b.png" in of_file._repr_html_()


def test_a_file_that_is_no_picture_is_refused_or_left_out(run: cnnlab.Run, tmp_path: Path) -> None:
    Image.new("L", (32, 32)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"none")

    with pytest.raises(cnnlab.DataError, match="skip_bad=True"):
        run.predict(tmp_path)
    found = run.predict(tmp_path, skip_bad=True)

    assert [path.name for path in found.files] == ["good.png"]
    assert [path.name for path, _ in found.failed] == ["bad.png"]


def test_a_run_is_resumed_with_other_settings(run: cnnlab.Run) -> None:
    with redirect_stdout(StringIO()):
        assert run.resume() == run  # complete: nothing is trained
        longer = run.resume(**{"trainer.epochs": 3, "allow_changes": ["trainer.epochs"]})

    assert longer == run
    assert len(longer.history) == 3


REFUSED: list[tuple[type[cnnlab.CnnlabError], str, Callable[[], object]]] = [
    (cnnlab.UsageError, "did you mean 'trainer.epochs'", lambda: train("trainer.epoch=3")),
    (cnnlab.UsageError, "must be an integer", lambda: train(seed=0.5)),
    (cnnlab.UsageError, "no model 'lenet'", lambda: train(model="lenet")),
    (cnnlab.UsageError, "a word must be a text", lambda: train({"seed": 1})),  # type: ignore[arg-type]
    (cnnlab.UsageError, "cannot be a object", lambda: train(seed=object())),
    (cnnlab.UsageError, "one job", lambda: train("seed=1,2", "-m")),
    (cnnlab.UsageError, "several values", lambda: train("seed=1,2")),
    (cnnlab.UsageError, "too long", lambda: train(resume="x" * 5000)),
    (cnnlab.DataError, "is not a folder", lambda: cnnlab.datasets("folder", root="nowhere")),
    (cnnlab.UsageError, "no effect", lambda: cnnlab.datasets("mnist5k", "trainer.epochs=1")),
    (cnnlab.UsageError, "no effect", lambda: cnnlab.evaluate(checkpoint="x", format="json")),
    (cnnlab.UsageError, "no effect", lambda: cnnlab.predict("x", "top=1", checkpoint="x")),
    (cnnlab.CheckpointError, "no", lambda: cnnlab.evaluate(checkpoint="none.safetensors")),
    (cnnlab.UsageError, "no model 'x'", lambda: cnnlab.build_model("x")),
    (cnnlab.UsageError, "not a setting", lambda: cnnlab.build_model("lenet5", depth=3)),
    (cnnlab.UsageError, "weights", lambda: cnnlab.build_model("lenet5", weights="x")),
]


@pytest.mark.parametrize(("kind", "said", "call"), REFUSED, ids=[said for _, said, _ in REFUSED])
def test_an_error_is_an_exception_of_its_class(
    kind: type[cnnlab.CnnlabError], said: str, call: Callable[[], object]
) -> None:
    with pytest.raises(kind, match=said) as caught:
        call()
    assert type(caught.value) is kind
    assert len(str(caught.value).splitlines()) <= 3
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that nobody may write to")
def test_a_lack_is_explained_as_by_the_command_and_keeps_its_cause() -> None:
    with pytest.raises(cnnlab.ResourceError, match=r"hydra\.run\.dir=X") as caught:
        train(**{"hydra.run.dir": "/sys/cnnlab/run"})
    assert caught.value.__cause__ is not None


def test_a_bug_is_raised_as_it_is_and_the_log_of_the_run_has_it(tmp_path: Path) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("in the middle")

    with redirect_stdout(Listening("epoch   1/", break_down)), pytest.raises(ZeroDivisionError):
        cnnlab.train(*FEW, **{"hydra.run.dir": tmp_path / "run"})
    assert "ZeroDivisionError: in the middle" in (tmp_path / "run" / "train.log").read_text()
    assert cnnlab.Run(tmp_path / "run").status == "failed"


def test_ctrl_c_saves_and_raises_and_the_run_goes_on(tmp_path: Path) -> None:
    stream = Listening("epoch   1/", lambda: signal.raise_signal(signal.SIGINT))
    with (
        redirect_stdout(stream),
        pytest.raises(KeyboardInterrupt, match="everything is saved") as c,
    ):
        cnnlab.train(*FEW, **{"trainer.epochs": 4, "hydra.run.dir": tmp_path / "run"})

    assert isinstance(c.value, cnnlab.Interrupted)
    assert c.value.exit_code == pickle.loads(pickle.dumps(c.value)).exit_code == 130
    stopped = cnnlab.Run(tmp_path / "run")
    assert stopped.status == "interrupted"
    assert stopped.test_error is None
    with redirect_stdout(StringIO()):
        assert len(stopped.resume().history) == 4


def test_a_second_ctrl_c_raises_at_once_and_ends_no_program(tmp_path: Path) -> None:
    def press_twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    stream = Listening("epoch   1/", press_twice)
    with redirect_stdout(stream), pytest.raises(KeyboardInterrupt):
        cnnlab.train(*FEW, **{"trainer.epochs": 4, "hydra.run.dir": tmp_path / "run"})
    assert cnnlab.Run(tmp_path / "run").status == "interrupted"


@pytest.mark.slow
def test_trainings_of_two_threads_are_those_of_one(tmp_path: Path) -> None:
    found: dict[int, float] = {}

    def trained(number: int) -> None:
        folder = tmp_path / f"{number}"
        words = {"trainer.epochs": 2, "seed": number % 2, "hydra.run.dir": folder}
        found[number] = cnnlab.train(*FEW, **words).history[-1]["train/loss"]

    with redirect_stdout(StringIO()):
        threads = [threading.Thread(target=trained, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        trained(2)
        trained(3)

    assert found[0] == found[2] != found[1] == found[3]


def test_a_split_is_a_torch_data_set() -> None:
    data = cnnlab.datasets("synthetic", num_train=50, num_test=20, num_validation=10, channels=1)
    images, labels = next(iter(DataLoader(data.train, batch_size=8)))

    assert torch.equal(images, data.train.images[:8])
    assert torch.equal(labels, data.train.labels[:8])
    assert len(data.train) == 40 == len(list(data.train))
    assert data.train[-1][1] == int(data.train.labels[-1])
    with pytest.raises(IndexError):
        data.train[40]
    assert "40 images" in data._repr_html_()


@pytest.mark.parametrize("augment", ["affine", pytest.param("crop", marks=pytest.mark.slow)])
def test_batches_are_those_of_a_training(augment: str) -> None:
    words = ("dataset=synthetic", "dataset.num_train=96", "dataset.num_validation=32")
    words = (*words, f"augment={augment}", "trainer.batch_size=16", "model=linear", "seed=5")
    config = calling.checked("train", words, {})
    expected = assemble.assemble(config, torch.device("cpu")).batches()

    data = cnnlab.datasets(
        "synthetic", f"augment={augment}", "model=linear", num_train=96, num_validation=32
    )
    found = list(data.batches(16, epochs=2, seed=5))

    assert len(found) == 8
    for images, labels in found:
        others, other_labels = next(expected)
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_a_module_of_ones_own_is_trained_and_repeats() -> None:
    data = cnnlab.datasets("synthetic", num_train=96, num_test=20, num_validation=32, channels=1)
    size = data.channels * data.input_size_pixels**2

    def fitted() -> tuple[cnnlab.History, str]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(size, data.num_classes))
        rates = torch.optim.SGD(network.parameters(), lr=0.01)
        with redirect_stdout(StringIO()) as printed:
            history = cnnlab.fit(network, data, rates, epochs=2, batch_size=20)
        assert network.training
        assert history[-1]["validation_error"] == data.measure(network)["top1_error"]
        return history, printed.getvalue()

    (history, printed), (again, _) = fitted(), fitted()

    assert history == again
    assert history[1]["loss"] < history[0]["loss"]
    assert printed.startswith("epoch 1/2  loss ")
    assert "<polyline" in history._repr_html_()


def test_a_loss_that_is_not_finite_ends_a_fit() -> None:
    data = cnnlab.datasets("synthetic", num_train=40, num_test=20, num_validation=10, channels=1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(data.input_size_pixels**2, 10))
    rates = torch.optim.SGD(network.parameters(), lr=1e38)
    with redirect_stdout(StringIO()), pytest.raises(cnnlab.NumericsError, match="not finite"):
        cnnlab.fit(network, data, rates, epochs=2, batch_size=10)


def test_a_model_is_built_as_it_was_published_or_as_asked() -> None:
    published = cnnlab.build_model("lenet5_1998")
    small = cnnlab.build_model("four_layer", num_classes=3, in_channels=1, width=0.5, seed=1)

    assert sum(p.numel() for p in published.parameters()) == 60_000
    assert small(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    other = cnnlab.build_model("four_layer", num_classes=3, in_channels=1, width=0.5, seed=2)
    assert not torch.equal(next(small.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        (0.1, "0.1"),
        (np.float64(0.5), "0.5"),
        (np.int64(3), "3"),
        ("lenet5", "lenet5"),
        ("null", "'null'"),
        ("1", "'1'"),
        (Path("a b's"), r"'a b\'s'"),
        (["a,b", 1], "['a,b',1]"),
        ([{"layers": ["c1"], "rate": 0.5}], "[{layers:[c1],rate:0.5}]"),
    ],
)
def test_values_of_python_become_words(value: object, written: str) -> None:
    assert value_of(value, "key") == written
