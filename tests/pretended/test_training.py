"""Training on a pretended CUDA device: the CPU's losses and weights, no mixed devices, no race.

Where the project computes one thing in two ways, a fused one on CPUs and a first convolution on
blocks of pixels on GPUs, the two agree to rounding; elsewhere they are equal bit for bit.
"""

import pytest
import torch

from cnnlab.models import pixel_blocks
from tests.pretended.device import pretended
from tests.pretended.record import MIX, RACE
from tests.pretended.runs import CASES, PAIRS, SPLIT, Training

NUM_STEPS = 3
ROUNDED = ("lenet5", "lenet5 with dropout", "lenet5 in two parts")
"""On a CPU LeNet-5's convolution and pooling are one operation (cpu/fusion.py)."""


def trained(words: tuple[str, ...], device: str) -> Training:
    run = Training.start(words, device)
    run.train(NUM_STEPS)
    return run


def trained_on_pretended(words: tuple[str, ...]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Return losses and weights of a training in which nothing raced."""
    with pretended() as record:
        run = trained(words, "cuda:0")
        assert not record.of(MIX, RACE)
        return [float(loss) for loss in run.losses], run.weights()


def check(words: tuple[str, ...], on_cpu: tuple[str, ...], relative: float) -> None:
    losses, weights = trained_on_pretended(words)
    wanted = trained(on_cpu, "cpu")
    assert losses == pytest.approx([float(loss) for loss in wanted.losses], rel=relative, abs=0)
    for name, value in wanted.weights().items():
        apart = (weights[name] - value).norm() / value.norm()
        assert apart <= relative, name


@pytest.fixture
def pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolve images as a CPU does."""
    monkeypatch.setattr(pixel_blocks, "is_faster", lambda convolution, maps: False)


@pytest.mark.usefixtures("pixel_by_pixel")
@pytest.mark.parametrize("case", CASES)
def test_it_learns_what_the_cpu_learns(case: str) -> None:
    check(CASES[case], CASES[case], 1e-5 if case in ROUNDED else 0)


def test_images_convolved_in_blocks_of_pixels_teach_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convolve, sizes = pixel_blocks.convolve, list[torch.Size]()

    def noting(maps: torch.Tensor, convolution: torch.nn.Conv2d) -> torch.Tensor:
        sizes.append(maps.shape)
        return convolve(maps, convolution)

    monkeypatch.setattr(pixel_blocks, "convolve", noting)
    check(CASES["alexnet of 2014"], CASES["alexnet of 2014"], 1e-5)
    assert sizes[-NUM_STEPS:] == [(4, 3, 64, 64)] * NUM_STEPS


@pytest.mark.usefixtures("pixel_by_pixel")
@pytest.mark.parametrize("devices", PAIRS)
def test_towers_on_two_devices_learn_what_they_learn_on_one(devices: str) -> None:
    # the norm of the gradient is summed by device, so that its last bit differs
    check((*SPLIT, f"model.devices={devices}"), (*SPLIT, "model.devices=[cpu,cpu]"), 1e-6)


@pytest.mark.parametrize("residency", ["device", "host", "mapped"])
def test_images_may_be_kept_anywhere(residency: str) -> None:
    words = (*CASES["lenet5"], f"dataset.residency={residency}")
    check(words, CASES["lenet5"], 1e-5)
