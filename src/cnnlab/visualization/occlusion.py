"""Occlusion maps: the probability of a class while a gray square covers each part of an image."""

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Network
from cnnlab.numerics import checked_probabilities
from cnnlab.visualization import grid
from cnnlab.visualization.figures import HEAT_MAP, Picture, new_figure, show
from cnnlab.visualization.probe import Probe, in_parts

MOST_IMAGES = 6
GRAY_LEVEL = 127


@torch.no_grad()
def occlusion_map(
    model: Network, probe: Probe, image: Tensor, label: int, size: int, stride: int
) -> Tensor:
    """Return the probability of `label` with a gray square centered at each place: [P,P].

    image uint8 [C,S,S]. Place (i,j) covers the pixels around (i,j) x stride, clipped at the border.
    Runs batches of probe.batch_size covered images. Source: Zeiler & Fergus 2014, section 4.2.
    """
    side = image.shape[-1]
    centers = torch.arange(0, side, stride)
    places = torch.cartesian_prod(centers, centers)

    probabilities = []
    with eval_mode(model):
        for part in in_parts(len(places), probe.batch_size):
            covered = cover(image, places[part].to(image.device), size)
            scores = model(probe.normalize(covered))
            probabilities.append(checked_probabilities(scores)[:, label])
    return torch.cat(probabilities).unflatten(0, (len(centers), len(centers)))


def cover(image: Tensor, centers: Tensor, size: int) -> Tensor:
    """Return copies of the image [C,S,S] with a gray square around each center: [P,C,S,S]."""
    span = torch.arange(image.shape[-1], device=image.device)
    low = centers - size // 2
    rows = (span >= low[:, :1]) & (span < low[:, :1] + size)  # [P,S]
    columns = (span >= low[:, 1:]) & (span < low[:, 1:] + size)
    square = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(square, torch.full_like(image, GRAY_LEVEL), image)


def draw_occlusion(model: Network, probe: Probe) -> list[Picture]:
    """Draw each image and the occlusion map of its true class, or of the predicted if unknown."""
    images = probe.images[:MOST_IMAGES]
    side = images.shape[-1]
    size, stride = max(2, side // 5), max(1, side // 32)
    with torch.no_grad(), eval_mode(model):
        probabilities = checked_probabilities(model(probe.normalize(images)))
    labels = probabilities.argmax(1) if probe.labels is None else probe.labels[: len(images)]

    title = probe.title("occlusion")
    figure = new_figure(1.9 * len(images) + 1.0, 4.4, title)
    axes = figure.subplots(2, len(images), squeeze=False)
    for n, label in enumerate(labels.tolist()):
        heading = f"{probe.class_name(label)}: {float(probabilities[n, label]):.0%}"
        show(axes[0, n], grid.pixels_to_unit(images[n]), heading)
        covered = occlusion_map(model, probe, images[n], label, size, stride)
        show(axes[1, n], covered, cmap=HEAT_MAP)
    figure.colorbar(axes[1, -1].images[0], ax=axes[1], label="probability", shrink=0.8)

    caption = (
        f"Below each image: the probability of its class while a gray square of {size} pixels is "
        "centered there. Dark where the prediction depends on what is covered."
    )
    return [Picture("occlusion", title, caption, figure)]
