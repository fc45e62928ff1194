"""Refuse an input that is too small before anything is allocated, with the arithmetic."""

from collections.abc import Mapping

from cnnlab.errors import UsageError
from cnnlab.geometry import Window, smallest_input, trace_sizes


def check_sizes(model: str, size: int, windows: Mapping[str, Window]) -> dict[str, int]:
    """Return the output size after each window for an input of `size` pixels.

    Raises UsageError naming the first layer without an output and the smallest input that works.
    """
    sizes = trace_sizes(size, windows)

    for name, output in sizes.items():
        if output < 1:
            before = [size, *sizes.values()][list(sizes).index(name)]
            raise UsageError(
                f"{name} output would be 0x0 for a {size}-pixel input; "
                f"the smallest is {smallest_input(windows)}",
                where=f"{model}: {name} gets {before} pixels, {windows[name].formula(before)}",
                hint="set dataset.image_size_pixels (or the crop) to a larger size",
            )

    return sizes
