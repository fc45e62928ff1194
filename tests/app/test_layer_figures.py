"""`cnnlab summary layer=...`: the lecture's formulas of one layer, beside what torch does."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from cnnlab.app.layer_figures import window_figures
from cnnlab.cli import main
from cnnlab.command import composing
from cnnlab.command.line import read as read_line
from cnnlab.config import to_plain
from cnnlab.config.verbs.summary import parse_summary

WINDOWS = [
    (224, 11, 4, 2, 1),
    (224, 11, 4, 0, 1),
    (227, 11, 4, 0, 1),
    (32, 5, 1, 0, 1),
    (7, 3, 1, 1, 1),
    (9, 3, 2, 1, 2),
    (55, 3, 2, 0, 1),
    (28, 2, 2, 0, 1),
]
"""size, kernel, stride, padding, dilation."""

CONV1 = "layer=conv size=224 kernel=11 stride=4 padding=2 dilation=1"


def figures(words: str, capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["summary", *words.split(), "format=json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The settings of the command line CONV1."""
    (job,) = composing.check(read_line("summary", CONV1.split()))
    return to_plain(job.config)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_layers_figures_are_those_of_torch(
    window: tuple[int, ...], ceil: bool, plain: dict[str, Any]
) -> None:
    keys = ("size", "kernel", "stride", "padding", "dilation")
    given = plain | dict(zip(keys, window, strict=True)) | {"in_channels": 2}
    image = torch.zeros(1, 2, window[0], window[0])

    pool = nn.MaxPool2d(*window[1:], ceil_mode=ceil)
    found = window_figures(parse_summary(given | {"layer": "pool", "ceil": ceil}))
    assert found.output_size == list(pool(image).shape[1:])
    assert found.num_parameters == 0

    conv = nn.Conv2d(2, 6, *window[1:])
    found = window_figures(parse_summary(given | {"layer": "conv", "out_channels": 6}))
    maps = conv(image)
    assert found.output_size == list(maps.shape[1:])
    assert found.num_parameters == sum(p.numel() for p in conv.parameters())
    assert found.num_multiply_adds == conv.weight.numel() * maps.shape[-1] ** 2


def test_the_field_of_a_layer_is_what_its_first_and_last_window_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = figures("layer=conv size=12 kernel=3 stride=2 padding=1 dilation=2", capsys)
    image = torch.zeros(1, 1, 12, 12, requires_grad=True)
    maps = nn.functional.conv2d(image, torch.ones(1, 1, 3, 3), None, 2, 1, 2)
    maps[0, 0, 0, -1].backward()

    columns = image.grad[0, 0].sum(0).nonzero().flatten().tolist()
    first = found["start_pixels"] + (found["output_size"][-1] - 1) * found["jump_pixels"]
    assert columns == list(range(first, first + found["receptive_field_pixels"], 2))
    assert columns[-1] == 12 + 1 - 1 - found["unread_pixels"]


def test_the_formula_is_printed_with_symbols_and_with_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["summary", *CONV1.split(), "in_channels=3", "out_channels=64"]) == 0
    printed = capsys.readouterr().out
    assert "H' = floor((H + 2·P - D·(K - 1) - 1)/S + 1)" in printed
    assert "floor((224 + 2·2 - 1·(11 - 1) - 1)/4 + 1) = 55" in printed
    assert "64·3·11² + 64 = 23,296" in printed
    assert "64·3·11²·55² = 70,276,800" in printed


def test_the_slides_fully_connected_layer_has_4_097_000_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = figures("layer=fc in_features=4096 out_features=1000", capsys)
    assert (found["num_parameters"], found["num_multiply_adds"]) == (4_097_000, 4_096_000)


def test_pooling_without_a_stride_moves_by_its_kernel_and_a_convolution_by_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert figures("layer=pool size=28 kernel=2", capsys)["output_size"] == [14, 14]
    assert figures("layer=conv size=28 kernel=2", capsys)["output_size"] == [27, 27]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("layer=conv size=5", "layer=conv needs kernel"),
        ("layer=pool", "layer=pool needs size and kernel"),
        ("layer=fc in_features=3", "layer=fc needs out_features"),
        ("layer=conv size=5 kernel=7", "the window does not fit: it spans 7 pixels"),
        ("layer=conv size=5 kernel=3 dilation=3", "the window does not fit: it spans 7 pixels"),
        ("layer=conv size=5 kernel=3 in_channels=3", "in_channels and out_channels belong"),
        ("layer=pool size=5 kernel=2 padding=2", "padding=2 is more than half of kernel=2"),
    ],
)
def test_a_layer_of_which_too_little_is_known_is_refused(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", *words.split()]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 2


def test_the_figures_of_a_layer_need_no_torch() -> None:
    code = (
        "import sys; from cnnlab.cli import main; "
        f"assert main({['summary', *CONV1.split()]}) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
