"""Pictures of the network in training, for TensorBoard's image tab."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from cnnlab.visualization import PICTURES
from cnnlab.visualization.figures import to_pixels
from cnnlab.visualization.probe import Probe

WriteImage = Callable[[str, Tensor, int], None]


class PictureHook:
    """Draw some of PICTURES and hand them on as uint8 [3,H,W] with a name and the step.

    Call with (model, step) at the chosen interval. Changes neither the network's mode nor any
    random state.
    """

    def __init__(self, names: Sequence[str], probe: Probe, write_image: WriteImage) -> None:
        self.names, self.probe, self.write_image = tuple(names), probe, write_image

    def __call__(self, model: nn.Module, step: int) -> None:
        """Draw and write every picture."""
        for name in self.names:
            for picture in PICTURES[name](model, self.probe):
                self.write_image(f"pictures/{picture.name}", to_pixels(picture), step)
