"""The drawings of the lecture: their numbers beside torch's, and what each network gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cnnlab.cli import main
from cnnlab.config import choices
from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.config.pictures import DRAWINGS, PICTURES, asked_for
from cnnlab.config.schema import parse
from cnnlab.geometry import Window
from cnnlab.inference.planning import plan_of_model
from cnnlab.models.layers_1998 import ScaledTanh
from cnnlab.visualization import network_plan
from cnnlab.visualization.figures import render
from cnnlab.visualization.lecture import draw_activation_functions
from cnnlab.visualization.lecture_windows import IMAGE, KERNEL, draw_windows
from cnnlab.visualization.number_grids import slide, taps

NAMES = [
    *("activation_functions", "convolution", "padding", "stride", "dilation", "pooling"),
    *("receptive_fields", "blocks", "parameters"),
]


def plan(name: str) -> network_plan.Plan:
    return plan_of_model(parse(ModelConfig, choices.alone("model", name), "model"))


@pytest.fixture(scope="module")
def windows() -> dict:
    return {picture.name: picture for picture in draw_windows()}


@pytest.mark.slow
def test_the_command_draws_the_lecture_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["visualize", "what=lecture", "formats=png"]) == 0
    printed = capsys.readouterr().out
    assert "alexnet_2014 on 3x224x224 · 61,100,840 parameters, 96.0% fully connected" in printed

    folder = tmp_path / "outputs" / "lecture"
    assert sorted(path.stem for path in folder.glob("*.png")) == sorted(NAMES)
    page = (folder / "pictures.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(NAMES)


@pytest.mark.parametrize("words", ["", "what=filters", "what=[lecture,filters]"])
def test_a_picture_of_a_trained_network_asks_for_its_checkpoint(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["visualize", *words.split()]) == 2
    said = capsys.readouterr().err
    assert "checkpoint is missing: filters shows a trained network" in said
    assert "what=lecture needs none" in said


def test_all_stands_for_every_picture_of_a_trained_network_and_for_no_drawing() -> None:
    assert asked_for(["all"]) == list(PICTURES)
    assert asked_for(["all", "lecture"]) == [*PICTURES, *DRAWINGS]


@pytest.mark.parametrize(
    "window",
    [Window(3), Window(3, padding=1), Window(3, stride=2), Window(3, dilation=2), Window(3, 2, 2)],
)
def test_the_maps_drawn_are_those_of_torch(window: Window) -> None:
    image, kernel = torch.tensor(IMAGE), torch.tensor(KERNEL)
    wanted = F.conv2d(
        image[None, None].float(),
        kernel[None, None].float(),
        None,
        window.stride,
        window.padding,
        window.dilation,
    )
    assert slide(IMAGE, KERNEL, window) == wanted[0, 0].tolist()


def test_pooling_draws_the_table_of_the_slide(windows: dict) -> None:
    facts = windows["pooling"].facts
    assert facts["max"] == [[14, 5, 4], [9, 12, 7]]
    maps = torch.tensor(facts["map"]).float()[None, None]
    assert facts["max"] == F.max_pool2d(maps, 2)[0, 0].tolist()
    assert facts["mean"] == F.avg_pool2d(maps, 2)[0, 0].tolist()


def test_the_sum_written_below_the_convolution_is_its_output(windows: dict) -> None:
    texts = [text.get_text() for text in windows["convolution"].figure.axes[0].texts]
    (written,) = (text for text in texts if " + " in text)
    left, _, total = written.replace("\u2212", "-").partition("=")
    terms = [[int(part.strip("() ")) for part in term.split("·")] for term in left.split("+")]
    assert sum(number * weight for number, weight in terms) == int(total)
    assert int(total) == windows["convolution"].facts["map"][0][1]


def test_a_dilated_window_reads_nine_numbers_two_apart() -> None:
    cells = taps(Window(3, dilation=2), (0, 0))
    assert cells == [(row, column) for row in (0, 2, 4) for column in (0, 2, 4)]


def test_activation_functions_and_their_derivatives_are_those_of_torch() -> None:
    facts = dict(draw_activation_functions().facts)
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "tanh of 1998": ScaledTanh(),
        "ReLU": torch.relu,
    }
    xs = torch.tensor(facts["x"], dtype=torch.float64, requires_grad=True)
    for name, function in functions.items():
        values = function(xs)
        (slopes,) = torch.autograd.grad(values.sum(), xs)
        torch.testing.assert_close(torch.tensor(facts[name], dtype=torch.float64), values.detach())
        found = torch.tensor(facts[f"{name}, derivative"], dtype=torch.float64)
        torch.testing.assert_close(found, slopes)


@pytest.mark.parametrize("name", ["alexnet_2014", "lenet5_1998", "linear"])
def test_the_plan_of_a_network_is_drawn_with_its_sizes(name: str) -> None:
    found = plan(name)
    blocks = network_plan.draw_blocks(found)
    assert [tuple(size) for size in blocks.facts.values()] == [
        tuple(found.input_size),
        *(tuple(layer.output_size) for layer in found.shown),
    ]
    assert render(blocks, "png")


def test_the_57_million_are_in_the_fully_connected_layers() -> None:
    """The slide's 57,409,444: this network with 100 classes and without fc6's or fc7's biases."""
    facts = network_plan.draw_parameters(plan("alexnet_2014")).facts
    assert facts["num_parameters"] == 61_100_840
    assert facts["parameters"]["fc6"] == 37_752_832
    assert facts["parameters"]["fc8"] == 4_097_000
    assert facts["fully_connected_share"] == pytest.approx(0.9596, abs=1e-4)

    hundred = facts["num_parameters"] - facts["parameters"]["fc8"] + 4096 * 100 + 100
    assert hundred - 4096 == 57_409_444


def test_receptive_fields_grow_to_195_pixels() -> None:
    fields = network_plan.draw_fields(plan("alexnet_2014")).facts
    assert list(fields.values()) == [11, 19, 51, 67, 99, 131, 163, 195]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_drawings_of_every_model_are_saved(name: str, tmp_path: Path) -> None:
    words = [f"model={name}", f"output={tmp_path}"]
    assert main(["visualize", "what=lecture", *words]) == 0
    assert len(list(tmp_path.iterdir())) >= 2 * len(NAMES) + 1
