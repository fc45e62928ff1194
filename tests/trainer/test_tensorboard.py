"""What a run shows in TensorBoard, read back from its event file as TensorBoard reads it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

from cnnlab.cli import main

RUN = [
    *(
        "train",
        "experiment=debug",
        "trainer.epochs=2",
        "runtime.num_threads=1",
        "logging.report=false",
    ),
    *("logging.images_every_epochs=null", "logging.progress=false", "saving.keep=2"),
]
AT_START = {"run/1 command", "run/2 network", "run/3 config", "custom_scalars__config__"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train with histograms after every second update: six updates in two epochs."""
    folder = tmp_path_factory.mktemp("tabs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["logging.histograms_every_steps=2", "logging.embedded_images=30"]
        assert main([*RUN, *words, "hydra.run.dir=run"]) == 0
    return folder


def read(folder: Path) -> EventAccumulator:
    everything = {"tensors": 0, "histograms": 0, "scalars": 0}
    return EventAccumulator(str(folder / "tensorboard"), size_guidance=everything).Reload()


@pytest.fixture(scope="module")
def events(place: Path) -> EventAccumulator:
    return read(place / "run")


def text(events: EventAccumulator, tag: str) -> str:
    return str(events.Tensors(tag)[-1].tensor_proto.string_val[0].decode())


def test_the_text_tab_has_command_network_config_and_test(events: EventAccumulator) -> None:
    assert "cnnlab train experiment=debug trainer.epochs=2" in text(events, "run/1 command")
    assert "| c1 | conv | 6 x 28 x 28 | 156 |" in text(events, "run/2 network")
    assert "| total |  |  | 61,706 |" in text(events, "run/2 network")
    assert "      epochs: 2" in text(events, "run/3 config")
    assert "| top-1 error |" in text(events, "run/0 test")
    assert events.Graph().node[1].name == "c1"


def test_every_chart_of_the_layout_has_figures(events: EventAccumulator) -> None:
    content = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    charts = {
        chart.title: chart.multiline.tag for chart in Layout.FromString(content).category[0].chart
    }
    figures = events.Tags()["scalars"]
    found = {
        title: {figure for pattern in patterns for figure in figures if re.search(pattern, figure)}
        for title, patterns in charts.items()
    }
    assert found["loss: training and validation"] == {"train/loss", "validation/loss"}
    assert {"validation/top1_error", "test/top1_error"} <= found["error: validation, test"]
    assert found["learning rate"] == {"train/learning_rate"}  # more lines with optimizer.groups
    assert all(found.values())


def test_settings_compare_with_the_errors_of_validation_and_test(events: EventAccumulator) -> None:
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = parse_session_start_info_plugin_data(content).hparams
    assert settings["model.name"].string_value == "lenet5"
    assert settings["trainer.epochs"].number_value == 2
    assert settings["trainer.overfit_one_batch"].HasField("bool_value")

    # of a list of columns TensorBoard would take that of one run for all runs of a sweep
    assert "_hparams_/experiment" not in events.summary_metadata
    first = sorted(events.Tags()["scalars"])[:2]
    assert first == ["result/test_error", "result/validation_error"]
    best = min(event.value for event in events.Scalars("validation/top1_error"))
    assert events.Scalars("result/validation_error")[0].value == best
    assert (
        events.Scalars("result/test_error")[0].value == events.Scalars("test/top1_error")[0].value
    )


def test_histograms_are_of_each_weight_and_gradient_when_asked(events: EventAccumulator) -> None:
    tags = events.Tags()["histograms"]
    layers = [
        f"{layer}/{part}"
        for layer in ("c1", "c3", "c5", "f6", "output")
        for part in ("bias", "weight")
    ]
    assert sorted(tags) == sorted(
        f"{kind}/{name}" for kind in ("weights", "gradients") for name in layers
    )
    assert [one.step for one in events.Histograms("gradients/c1/weight")] == [2, 4, 6]
    assert events.Histograms("weights/c1/weight")[0].histogram_value.num == 150


def test_each_class_has_a_precision_recall_curve(events: EventAccumulator) -> None:
    curves = [tag for tag in events.Tags()["tensors"] if tag.startswith("test")]
    assert sorted(curves) == sorted(
        ["test/all classes", *(f"test, each class/{k}: {k}" for k in range(10))]
    )


def test_the_projector_has_a_line_and_a_thumbnail_for_each_image(place: Path) -> None:
    folder = place / "run" / "tensorboard"
    assert (
        "relu6: 30 images of mnist5k validation" in (folder / "projector_config.pbtxt").read_text()
    )
    names = (folder / "projector" / "names.tsv").read_text().splitlines()
    assert names[0].split("\t") == ["class", "predicted", "answer"]
    assert len(names) == 31
    features = (folder / "projector" / "features.tsv").read_text().splitlines()
    assert {len(line.split("\t")) for line in features} == {84}


def test_without_a_word_nothing_is_written_between_start_and_end(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But figures, as before; and the files of a whole run are small."""
    monkeypatch.chdir(place)
    assert main([*RUN, "hydra.run.dir=usual"]) == 0
    events = read(place / "usual")
    steps = {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    assert {tag for tag, at in steps.items() if at == [0]} >= AT_START
    assert {at for each in steps.values() for at in each} == {0, 6}
    assert events.Tags()["histograms"] == []
    files = [path for path in (place / "usual" / "tensorboard").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000


def test_a_tab_that_cannot_be_written_is_a_warning_and_the_run_ends_well(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    shutil.copytree("run", "blocked")
    shutil.rmtree("blocked/tensorboard/projector")
    Path("blocked/tensorboard/projector").write_text("in the way")

    capsys.readouterr()
    assert main(["train", "resume=blocked", "trainer.epochs=3"]) == 0
    printed: Any = capsys.readouterr()
    assert printed.out.count("warning: no embedding in TensorBoard: ") == 1
    assert "test error" in printed.out
    assert "Traceback" not in printed.out + printed.err
    assert read(Path("blocked")).Scalars("result/test_error")[-1].step == 9
