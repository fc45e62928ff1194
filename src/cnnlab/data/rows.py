"""Parameters of a batch that several processes share: drawn for all of it, cut to one's rows."""

from torch import Tensor

from cnnlab.distributed.share import Part


def num_drawn(images: Tensor, part: Part | None) -> int:
    """Return for how many images parameters are drawn: the whole batch, whoever computes it."""
    return len(images) if part is None else part.total


def own_rows(parameters: Tensor, images: Tensor, part: Part | None) -> Tensor:
    """Return these images' rows of parameters [total, ...], on the images' device."""
    rows = parameters if part is None else parameters[part.first : part.first + len(images)]
    return rows.to(images.device)
