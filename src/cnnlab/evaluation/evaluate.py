"""(members, batches) -> Tally: one path for one network and for an ensemble."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnlab.errors import DataError
from cnnlab.evaluation.metrics import Jury, Tally, count
from cnnlab.evaluation.views import Views
from cnnlab.numerics import probabilities
from cnnlab.preprocessing import Preprocessing


@dataclass
class Member:
    """One network of an ensemble, with everything between stored pixels and its scores.

    class_order: int64 [K]; entry k is this member's column for the ensemble's class k. None: the
    columns are the ensemble's classes already. crops_at_once: the most that one forward pass
    gets; None: as many as the batch has images, so that more views need no more memory.
    """

    name: str
    model: nn.Module
    preprocessing: Preprocessing
    views: Views
    class_order: Tensor | None = None
    weight: float = 1.0
    crops_at_once: int | None = None


KEPT_BYTES = 24 << 20
"""Blocks below 32 MiB are used again by the C library; larger ones are fetched from the system,
page by page, at every forward pass, which takes as long as computing."""


def crops_that_stay(largest_map: int) -> int:
    """Return how many crops a forward pass on the CPU should have.

    largest_map: numbers in the network's largest map for one crop.
    """
    return max(1, KEPT_BYTES // (4 * largest_map))


class EvaluationStopped(Exception):  # noqa: N818 - a request, not a fault
    """Somebody asked to stop before all images were judged; there is no partial answer."""


Batches = Iterable[tuple[Tensor, Tensor, *tuple[object, ...]]]
"""(uint8 images [N,c,h,w], labels int64 [N]), on the members' device; what follows is ignored."""

Observer = Callable[[Tensor, Tensor], None]
"""Called once a batch with labels [N] and per-view probabilities [N,M,V,K], float32."""


def evaluate(
    members: Sequence[Member],
    batches: Batches,
    *,
    num_classes: int,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], object] | None = None,
) -> Tally:
    """Judge batches of images by the members' average probability.

    Probabilities are averaged over views, then over members by weight, in float32. The networks
    answer in eval mode; each module's own mode is restored.
    Raises EvaluationStopped when should_stop() says so between batches, DataError where the
    batches hold no image, NumericsError where an answer is not finite.
    """
    jury = Jury()
    with evaluating(members):
        for images, labels, *_ in batches:
            if should_stop is not None and should_stop():
                raise EvaluationStopped
            chances = answer(members, images)
            for observer in observers:
                observer(labels, chances)
            jury.hear(combine(chances, members), labels)
        verdicts = jury.verdicts()
    if verdicts is None:
        raise DataError("there are no images to evaluate")
    return count(verdicts, num_classes)


@contextmanager
def evaluating(members: Sequence[Member]) -> Iterator[None]:
    """Put the members' networks in eval mode without gradients, and restore what was."""
    modules = [module for member in members for module in member.model.modules()]
    modes = [module.training for module in modules]
    try:
        for member in members:
            member.model.eval()
        with torch.inference_mode():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def answer(members: Sequence[Member], images: Tensor) -> Tensor:
    """Return each member's probabilities for each view of images [N,c,h,w]: [N,M,V,K].

    To be called inside `evaluating`. All members have the same number of views.
    """
    if len(members) == 1:
        return view_chances(members[0], images).unsqueeze(1)
    return torch.stack([view_chances(m, images) for m in members], dim=1)


def view_chances(member: Member, images: Tensor) -> Tensor:
    """Return one member's probabilities for each view of images [N,c,h,w]: float32 [N,V,K]."""
    images = member.preprocessing.prepare(images)
    at_once = min(len(images), member.crops_at_once or len(images))
    if len(images) <= (num_images := max(1, at_once // member.views.num_views)):
        chances = _chunk_chances(member, images)
    else:
        chances = torch.cat([_chunk_chances(member, c) for c in images.split(num_images)])
    return chances if member.class_order is None else chances[..., member.class_order]


def combine(chances: Tensor, members: Sequence[Member]) -> Tensor:
    """Average probabilities [N,M,V,K] over views, then over members by weight: [N,K]."""
    per_member = chances[:, :, 0] if chances.shape[2] == 1 else chances.mean(2)
    if len(members) == 1:
        return per_member[:, 0]
    weights = per_member.new_tensor([member.weight for member in members])
    return torch.einsum("nmk,m->nk", per_member, weights / weights.sum())


def _chunk_chances(member: Member, images: Tensor) -> Tensor:
    crops = member.views(images)
    scores = member.model(member.preprocessing.normalize(as_batch(crops)))
    return probabilities(scores).unflatten(0, crops.shape[:2])


def as_batch(crops: Tensor) -> Tensor:
    """Return crops [N,V,C,s,s] as images [N*V,C,s,s] whose strides say channels_last.

    For one channel every layout is the same in memory, yet torch picks the kernel by the strides:
    LeNet's first convolution takes three times as long when they say the other thing.
    """
    return crops.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)
