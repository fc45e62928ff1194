"""Data parallelism: every process has the whole network, and its rows of each batch."""

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from cnnlab.distributed.gradients import GradientSum
from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.distributed.share import WHOLE, Share

Module = TypeVar("Module", bound=nn.Module)
Norm = Callable[[Sequence[Tensor]], Tensor]
"""Parameters -> the norm over their gradients."""


class DataParallel:
    """A scheme: how processes share an update. All of them call every method, in the same order.

    All gradients and the loss are summed; each process draws dropout masks of its own. For one
    process it changes nothing. network: on its device, layers frozen. overlaps: gradients are
    summed during the backward pass, of which an update has one.
    """

    assembles: ClassVar[bool] = False
    """Whether the fully connected layers of each process see the whole batch."""

    def __init__(
        self,
        network: nn.Module,
        peers: Peers = ALONE,
        compression: str = "none",
        overlaps: bool = True,
    ) -> None:
        self._peers = peers
        self._sums = GradientSum(peers, compression, self._summed(network) if overlaps else None)

    def _summed(self, network: nn.Module) -> nn.Module:
        """Return the part of the network of whose gradients each process has a part."""
        return network

    @property
    def masks(self) -> Share:
        """Return whose dropout masks this process draws; WHOLE: those of one process."""
        return WHOLE if self.assembles else self._peers.share

    def view(self, network: Module) -> Module:
        """Return the network whose parameters this process trains; they share their storage."""
        return network

    def gather(self, network: nn.Module) -> None:
        """Fill in the weights that other processes train, which are out of date until then."""

    def assemble(self, own: Tensor, total: int) -> Tensor:
        """Return all `total` rows of a batch of which each process has its share."""
        return own

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Complete the gradients in place; return the loss of the whole batch."""
        return self._sums(parameters, loss)

    def norm(self, parameters: Sequence[Tensor], norm_here: Norm) -> Tensor:
        """Return the norm over complete gradients, the same in all processes."""
        return norm_here(parameters)

    def whole_state(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the optimizer's state, by `optimizer.<parameter>.<key>`, as one process has it."""
        return tensors

    def own_state(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return of the state of one process what this process keeps; the inverse."""
        return tensors
