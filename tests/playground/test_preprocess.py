import itertools
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.data.digits import like_mnist
from cnnlab.images import center_crop, resize, to_channels
from cnnlab.preprocessing import Preprocessing
from tests.playground.javascript import answer, needs_node

SEEN = """
return given.map(([levels, channels, height, width, input]) => {
  const found = seen(image(channels, height, width, Float64Array.from(levels)), input);
  return [[...found.data], [...normalized(found, input)]];
});
"""


def scribble(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Return a bright stroke or two on uneven dark paper, with noise: uint8 [C,H,W]."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    paper = 20.0 + 30.0 * columns / width
    points = torch.rand(4, 2, generator=generator) * 0.6 + 0.2
    for a, b in itertools.pairwise(points):
        for share in torch.linspace(0, 1, 40):
            row, column = ((1 - share) * a + share * b).tolist()
            near = (rows - row * height) ** 2 + (columns - column * width) ** 2
            paper[near < (0.05 * min(height, width)) ** 2] = 230
    noisy = paper + 4 * torch.randn(channels, height, width, generator=generator)
    return noisy.clamp(0, 255).to(torch.uint8)


def described(preprocessing: Preprocessing, size: int, is_digits: bool) -> dict:
    return {
        "channels": preprocessing.channels,
        "size": size,
        "stored_pixels": preprocessing.image_size_pixels,
        "pad_pixels": preprocessing.pad_pixels,
        "is_digits": is_digits,
        "mean": preprocessing.mean.flatten().tolist(),
        "std": preprocessing.std.tolist(),
    }


CASES = {
    "drawn digit": ((1, 256, 256), (1, 32, 2), 32, True),
    "wide color photograph of a digit": ((3, 90, 131), (1, 32, 2), 32, True),
    "dark ink on bright paper": ((1, 140, 100), (1, 32, 2), 32, True),
    "a picture of MNIST itself": ((1, 28, 28), (1, 28, 0), 28, True),
    "gray picture for three channels": ((1, 50, 37), (3, 24, 0), 24, False),
    "color picture, cropped and padded": ((3, 70, 101), (3, 40, 4), 32, False),
    "color picture for one channel": ((3, 31, 64), (1, 33, 1), 28, False),
}


@needs_node
def test_a_picture_is_prepared_as_predict_prepares_it(tmp_path: Path) -> None:
    given, wanted = [], []
    for number, (name, (shape, sizes, side, is_digits)) in enumerate(CASES.items()):
        picture = scribble(*shape, seed=number)
        if name.startswith("dark"):
            picture = 255 - picture
        channels = sizes[0]
        mean, std = torch.linspace(90, 120, channels), torch.linspace(50, 70, channels)
        preprocessing = Preprocessing(*sizes, mean, std)

        one = like_mnist(to_channels(picture[None], 1)[0]) if is_digits else picture
        wanted.append((name, preprocessing, center_crop(preprocessing.prepare(one[None]), side)))
        place = described(preprocessing, side, is_digits)
        given.append([picture.flatten().tolist(), *shape, place])

    for (name, preprocessing, seen), (levels, values) in zip(
        wanted, answer(SEEN, given, tmp_path), strict=True
    ):
        found = torch.tensor(levels, dtype=torch.float32).view_as(seen)
        off = (found - seen).abs()
        assert float(off.max()) <= 2, f"{name}: {float(off.max())} levels"
        assert float(off.mean()) < 0.2, name
        normal = preprocessing.normalize(found).flatten()
        assert torch.allclose(torch.tensor(values), normal, atol=1e-5), name


@needs_node
def test_a_blank_pad_is_black(tmp_path: Path) -> None:
    preprocessing = Preprocessing(1, 32, 2, torch.zeros(1), torch.ones(1))
    given = [[[200] * 64**2, 1, 64, 64, described(preprocessing, 32, True)]]
    ((levels, _),) = answer(SEEN, given, tmp_path)
    assert levels == [0] * 32**2


@needs_node
def test_resizing_is_torchs_with_antialiasing(tmp_path: Path) -> None:
    picture = scribble(3, 61, 80, seed=5)
    widths = [7, 32, 33, 300]
    script = """
    const picture = image(3, 61, 80, Float64Array.from(given[0]));
    return given[1].map((width) => [...resize(picture, 40, width).data]);
    """
    given = [picture.flatten().tolist(), widths]
    for width, found in zip(widths, answer(script, given, tmp_path), strict=True):
        wanted = resize(picture[None], (40, width)).flatten()
        assert float((torch.tensor(found) - wanted).abs().max()) <= 1
