"""Which part of an image the answer rests on: cover it piece by piece and watch the probability."""

import torch
from torch import Tensor, nn

from cnnlab.numerics import checked_probabilities
from cnnlab.visualization import grid
from cnnlab.visualization.figures import HEAT_MAP, Picture, new_figure, show
from cnnlab.visualization.probe import Probe, evaluating, in_parts

MOST_IMAGES = 6
GREY_LEVEL = 127


@torch.no_grad()
def occlusion_map(
    model: nn.Module, probe: Probe, image: Tensor, label: int, size: int, stride: int
) -> Tensor:
    """Return the probability of `label` with a grey square centred at each place: [P,P].

    image uint8 [C,S,S]. Place (i,j) covers the pixels around (i,j) x stride, clipped at the border.
    batch_size copies at a time. Source: Zeiler & Fergus 2014, section 4.2.
    """
    side = image.shape[-1]
    centres = torch.arange(0, side, stride)
    places = torch.cartesian_prod(centres, centres)
    chances = []
    with evaluating(model):
        for part in in_parts(len(places), probe.batch_size):
            covered = cover(image, places[part].to(image.device), size)
            scores = model(probe.normalize(covered))
            chances.append(checked_probabilities(scores)[:, label])
    return torch.cat(chances).unflatten(0, (len(centres), len(centres)))


def cover(image: Tensor, centres: Tensor, size: int) -> Tensor:
    """Return copies of the image [C,S,S] with a grey square around each centre: [P,C,S,S]."""
    span = torch.arange(image.shape[-1], device=image.device)
    low = centres - size // 2
    rows = (span >= low[:, :1]) & (span < low[:, :1] + size)  # [P,S]
    columns = (span >= low[:, 1:]) & (span < low[:, 1:] + size)
    square = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(square, torch.full_like(image, GREY_LEVEL), image)


def draw_occlusion(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw each image and its occlusion map, for its true class (the predicted one if unknown)."""
    images = probe.images[:MOST_IMAGES]
    side = images.shape[-1]
    size, stride = max(2, side // 5), max(1, side // 32)
    with torch.no_grad(), evaluating(model):
        chances = checked_probabilities(model(probe.normalize(images)))
    labels = chances.argmax(1) if probe.labels is None else probe.labels[: len(images)]
    title = probe.title("occlusion")
    figure = new_figure(1.9 * len(images) + 1.0, 4.4, title)
    axes = figure.subplots(2, len(images), squeeze=False)
    for n, label in enumerate(labels.tolist()):
        chance = occlusion_map(model, probe, images[n], label, size, stride)
        show(axes[0, n], grid.pixels_to_unit(images[n]), _words(probe, label, chances[n, label]))
        show(axes[1, n], chance, cmap=HEAT_MAP)
    figure.colorbar(axes[1, -1].images[0], ax=axes[1], label="probability", shrink=0.8)
    caption = (
        f"Below each image the probability of its class when a grey square of {size} pixels is "
        "centred at that place: dark where the answer rests on what is covered."
    )
    return [Picture("occlusion", title, caption, figure)]


def _words(probe: Probe, label: int, chance: Tensor) -> str:
    return f"{probe.class_name(label)}: {float(chance):.0%}"
