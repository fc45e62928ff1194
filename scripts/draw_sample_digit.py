"""Draw docs/images/handwritten_digit.jpg: a digit on paper, as a phone photographs it.

It is synthetic: strokes of a pen, uneven light, paper grain, a slight blur.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (480, 640)
PEN = (38, 48, 105)
TARGET = Path(__file__).parents[1] / "docs" / "images" / "handwritten_digit.jpg"

THREE = [
    (165, 215), (195, 175), (240, 160), (285, 180), (300, 225), (280, 270), (235, 300),
    (290, 315), (320, 360), (315, 415), (275, 455), (220, 465), (170, 440), (150, 410),
]  # fmt: skip


def draw() -> Image.Image:
    """Return the synthetic photograph."""
    generator = np.random.default_rng(3)
    width, height = SIZE
    down, across = np.mgrid[0:height, 0:width]
    light = 222 - 50 * across / width - 35 * down / height
    grain = generator.normal(0, 5, (height, width, 1))
    paper = light[..., None] * np.array([1.0, 0.98, 0.92]) + grain

    sheet = Image.fromarray(paper.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(sheet)
    points = smooth(THREE)
    for (x0, y0), (x1, y1) in pairwise(points):
        pen.line((x0, y0, x1, y1), fill=PEN, width=20)
    for x, y in points:
        pen.ellipse((x - 10, y - 10, x + 10, y + 10), fill=PEN)

    return sheet.rotate(-4, fillcolor=(190, 187, 175)).filter(ImageFilter.GaussianBlur(1.6))


def smooth(points: list[tuple[int, int]], steps: int = 12) -> list[tuple[float, float]]:
    """Return a Catmull-Rom curve through the points."""
    padded = np.array([points[0], *points, points[-1]], dtype=float)

    curve = []
    for i in range(len(padded) - 3):
        a, b, c, d = padded[i : i + 4]
        for t in np.linspace(0, 1, steps, endpoint=False):
            curve.append(
                0.5
                * (
                    2 * b
                    + (c - a) * t
                    + (2 * a - 5 * b + 4 * c - d) * t**2
                    + (3 * b - a - 3 * c + d) * t**3
                )
            )

    return [(float(x), float(y)) for x, y in [*curve, padded[-1]]]


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    draw().save(TARGET, quality=85)
