"""Pictures during training, for TensorBoard's image tab."""

from collections.abc import Callable, Sequence

from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.models.network import Network
from cnnlab.visualization import draw
from cnnlab.visualization.figures import to_pixels
from cnnlab.visualization.probe import Probe

WriteImage = Callable[[int, str, Tensor], object]
"""(step, tag, uint8 [3,H,W])."""


class PictureHook:
    """Draw some of PICTURES at a step and pass them to `write_image`.

    The network's mode and all random states stay as they are. A picture that does not apply to the
    network (kernels without convolutions) is skipped.
    """

    def __init__(self, names: Sequence[str], probe: Probe, write_image: WriteImage) -> None:
        self.names, self.probe, self.write_image = tuple(names), probe, write_image

    def __call__(self, model: Network, step: int) -> None:
        """Draw and write every picture."""
        for name in self.names:
            try:
                pictures = draw(name, model, self.probe)
            except UsageError:
                continue
            for picture in pictures:
                self.write_image(step, f"pictures/{picture.name}", to_pixels(picture))
