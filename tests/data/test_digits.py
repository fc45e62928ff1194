from pathlib import Path

import torch

from cnnlab.data.decode import read_image
from cnnlab.data.digits import is_dark_on_bright, like_mnist, otsu_threshold

PHOTOGRAPH = Path(__file__).parents[2] / "docs" / "images" / "handwritten_digit.jpg"


def bar(height: int, width: int, ink: int, paper: int) -> torch.Tensor:
    """A vertical stroke off the middle, on paper whose light falls to the right."""
    image = torch.full((1, height, width), float(paper)) - torch.linspace(0, 30, width)
    image[:, height // 4 : height // 2, width // 5 : width // 4] = ink
    return image.clamp(0, 255).to(torch.uint8)


def test_a_photograph_becomes_bright_ink_of_20_pixels_on_black():
    digit = like_mnist(read_image(PHOTOGRAPH, 1))
    assert digit.shape == (1, 28, 28)
    assert digit.dtype == torch.uint8
    inked = digit[0] > 30
    rows, columns = inked.any(1).nonzero()[:, 0], inked.any(0).nonzero()[:, 0]
    assert 19 <= int(rows[-1] - rows[0]) + 1 <= 20
    assert int(columns[-1] - columns[0]) + 1 <= 20
    assert digit.max() > 200
    assert digit[0, 0].sum() + digit[0, -1].sum() == 0


def test_the_digit_is_centered_by_mass():
    mass = like_mnist(bar(400, 300, 20, 220))[0].double()
    row = float((mass.sum(1) * torch.arange(28)).sum() / mass.sum())
    column = float((mass.sum(0) * torch.arange(28)).sum() / mass.sum())
    assert abs(row - 13.5) <= 0.5
    assert abs(column - 13.5) <= 0.5


def test_polarity_does_not_matter():
    photograph = read_image(PHOTOGRAPH, 1)
    dark, bright = like_mnist(photograph), like_mnist(255 - photograph)
    assert is_dark_on_bright(photograph.float()[0])
    assert not is_dark_on_bright(255 - photograph.float()[0])
    assert torch.equal(dark, bright)


def test_light_and_size_matter_little():
    near = like_mnist(bar(400, 300, 20, 220)).float()
    far = like_mnist(bar(1200, 900, 60, 160)).float()
    assert (near - far).abs().mean() < 8


def test_a_picture_of_mnists_size_stays_as_it_is():
    image = torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8)
    assert torch.equal(like_mnist(image), image)


def test_empty_paper_is_black():
    assert like_mnist(torch.full((1, 90, 70), 200, dtype=torch.uint8)).sum() == 0


def test_otsus_threshold_parts_two_heaps():
    heaps = torch.cat([torch.full((900,), 10.0), torch.full((100,), 200.0)]).view(20, 50)
    assert 10 <= otsu_threshold(heaps) < 200
