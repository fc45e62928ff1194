"""Slow, obvious versions of evaluation: one image, one view, one comparison at a time."""

import math

import torch
from torch import Tensor


def rank(probabilities: list[float], label: int) -> int:
    """Place of the true class after a stable sort by falling probability."""
    order = sorted(range(len(probabilities)), key=lambda k: -probabilities[k])
    return order.index(label)


def confusion(labels: list[int], predicted: list[int], num_classes: int) -> list[list[int]]:
    table = [[0] * num_classes for _ in range(num_classes)]
    for label, guess in zip(labels, predicted, strict=True):
        table[label][guess] += 1
    return table


def cross_entropy(probabilities: Tensor, labels: list[int]) -> float:
    return -sum(
        math.log(float(row[k])) for row, k in zip(probabilities, labels, strict=True)
    ) / len(labels)


def calibration_error(confidences: list[float], hits: list[bool], num_bins: int) -> float:
    total = 0.0
    for b in range(num_bins):
        low, high = b / num_bins, (b + 1) / num_bins
        inside = [i for i, c in enumerate(confidences) if low < c <= high or (b == 0 and c == 0.0)]
        if inside:
            confidence = sum(confidences[i] for i in inside) / len(inside)
            accuracy = sum(hits[i] for i in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(confidence - accuracy)
    return total


def five_crops(image: Tensor, size: int) -> list[Tensor]:
    """Corners and center of [C,H,W] by hand."""
    height, width = image.shape[-2:]
    middle_row, middle_column = round((height - size) / 2), round((width - size) / 2)
    corners = [
        (0, 0),
        (0, width - size),
        (height - size, 0),
        (height - size, width - size),
        (middle_row, middle_column),
    ]
    return [image[:, r : r + size, c : c + size] for r, c in corners]


def ensemble_probabilities(scores: list[list[Tensor]]) -> Tensor:
    """Average the softmax of scores[member][view] ([K] each) over views, then members."""
    members = []
    for views in scores:
        total = torch.zeros(len(views[0]))
        for view in views:
            exponentials = torch.exp(view - view.max())
            total += exponentials / exponentials.sum()
        members.append(total / len(views))
    return sum(members) / len(members)
