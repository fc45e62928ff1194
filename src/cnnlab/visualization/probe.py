"""The input of a picture: images, the sets they come from, and the user's settings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.models.network import Network
from cnnlab.safe_output import escape_control

Batches = Iterator[tuple[Tensor, Tensor]]
LONGEST_NAME = 40


@dataclass(frozen=True)
class ImageSet:
    """A labeled set that can be read more than once, in a fixed order.

    batches: returns an iterator of (images uint8 [n,C,S,S], labels [n]); S: input side in pixels.
    read: the same images by index, int64 [n] -> uint8 [n,C,S,S]. labels: of all images, int64
    [num_images], known without reading one; None: only `batches` has them.
    """

    title: str
    num_images: int
    batches: Callable[[], Batches]
    read: Callable[[Tensor], Tensor]
    labels: Tensor | None = None


@dataclass(frozen=True)
class Probe:
    """The images shown to a network, and the settings of the picture.

    images: uint8 [N,C,S,S], cropped to the network's input; labels int64 [N], or None when unknown.
    normalize: uint8 images -> float input of the network. image_set: searched for top activations;
    train_set: searched for neighbors. checkpoints: returns an iterator of (name, network), oldest
    first, one network in memory at a time. layer None: the picture's default; units None: the
    strongest num_units. signal: deconvnet, gradient or guided. square_pixels, square_stride: side
    and step of the square that covers images; None: chosen by the size of the image.
    """

    images: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    normalize: Callable[[Tensor], Tensor]
    image_set: ImageSet | None = None
    train_set: ImageSet | None = None
    checkpoints: Callable[[], Iterator[tuple[str, Network]]] | None = None
    model_title: str = "network"
    checkpoint_title: str = ""
    set_title: str = ""
    layer: str | None = None
    units: tuple[int, ...] | None = None
    num_units: int = 16
    signal: str = "deconvnet"
    square_pixels: int | None = None
    square_stride: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not len(self.images):
            raise UsageError("there is no image to look at", hint="num_images must be 1 or more")

    @property
    def size_pixels(self) -> int:
        """Side of the images, which is the network's input side."""
        return self.images.shape[-1]

    def title(self, *parts: str) -> str:
        """Return a picture's title: model, parts, set, checkpoint."""
        words = (self.model_title, *parts, self.set_title, self.checkpoint_title)
        return " · ".join(word for word in words if word)

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its number when it has none.

        Long names are truncated, control characters escaped.
        """
        if label >= len(self.class_names):
            return str(label)
        name = escape_control(self.class_names[label])
        return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}\u2026"


def needed_set(image_set: ImageSet | None, picture: str, which: str) -> ImageSet:
    """Return the set to search. Raises UsageError when there is none or it is empty."""
    if image_set is None:
        raise UsageError(f"{picture} searches a data set and has no {which} set")
    if not image_set.num_images:
        raise UsageError(f"{picture} searches a data set and the {which} set is empty")
    return image_set


def in_parts(num_items: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover 0 to num_items."""
    for start in range(0, num_items, size):
        yield slice(start, min(start + size, num_items))
