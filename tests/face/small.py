"""A training of milliseconds, and a standard output that acts on what is printed."""

from collections.abc import Callable
from io import StringIO

FEW = (
    *("model=linear", "dataset=synthetic", "dataset.num_train=96", "dataset.num_test=48"),
    *("dataset.num_validation=32", "dataset.channels=1", "augment=crop", "trainer.batch_size=16"),
    *("runtime.device=cpu", "runtime.num_threads=1"),
    *("logging.tensorboard=false", "logging.report=false"),
)
"""A training of milliseconds."""


class Listening(StringIO):
    """A standard output that acts when it is written a text."""

    def __init__(self, text: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._text, self._act = text, act

    def write(self, text: str) -> int:
        if self._text in text:
            self._act()
        return super().write(text)
