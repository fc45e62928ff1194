"""(members, batches) -> Tally: one path for one network and for an ensemble."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnlab import numerics
from cnnlab.errors import DataError
from cnnlab.eval_mode import eval_mode
from cnnlab.evaluation.metrics import PredictionBuffer, Tally, count
from cnnlab.evaluation.views import Views
from cnnlab.preprocessing import Preprocessing


@dataclass
class Member:
    """One network of an ensemble, with everything between stored pixels and its scores.

    class_order: int64 [K]; entry k is this member's column for the ensemble's class k. None: the
    columns are the ensemble's classes already. crops_at_once: the most crops per forward pass;
    None: as many as the batch has images, so that more views need no more memory. forward: how
    `model` computes scores, in another precision for example; None: as it is.
    """

    name: str
    model: nn.Module
    preprocessing: Preprocessing
    views: Views
    class_order: Tensor | None = None
    weight: float = 1.0
    crops_at_once: int | None = None
    forward: Callable[[Tensor], Tensor] | None = None


CPU_PASS_BYTES = 24 << 20
"""Blocks below 32 MiB are reused by the C library; larger ones are fetched from the system, page
by page, at every forward pass, which takes as long as computing."""


def crops_per_cpu_pass(largest_map: int) -> int:
    """Return how many crops a forward pass on the CPU should have.

    largest_map: numbers in the network's largest map for one crop.
    """
    return max(1, CPU_PASS_BYTES // (4 * largest_map))


class EvaluationStopped(Exception):  # noqa: N818 - a request, not a fault
    """A request to stop came before all images were evaluated; there is no partial result."""


Batches = Iterable[tuple[Tensor, Tensor, *tuple[object, ...]]]
"""(uint8 images [N,c,h,w], labels int64 [N]), on the members' device; further items are ignored."""

Observer = Callable[[Tensor, Tensor], None]
"""Called once per batch with labels [N] and per-view probabilities [N,M,V,K], float32."""


def evaluate(
    members: Sequence[Member],
    batches: Batches,
    *,
    num_classes: int,
    observers: Sequence[Observer] = (),
    should_stop: Callable[[], object] | None = None,
) -> Tally:
    """Count the errors of the members' average probability over batches of images.

    Probabilities are averaged over views, then over members by weight, in float32. The networks
    run in eval mode; each module's own mode is restored.
    Raises EvaluationStopped when should_stop() is true between batches, DataError where the
    batches hold no image, NumericsError where a probability is not finite.
    """
    predictions = PredictionBuffer()
    with evaluating(members):
        for images, labels, *_ in batches:
            if should_stop is not None and should_stop():
                raise EvaluationStopped

            probabilities = predict_views(members, images)
            for observer in observers:
                observer(labels, probabilities)
            predictions.update(combine(probabilities, members), labels)
        results = predictions.results()

    if results is None:
        raise DataError("there are no images to evaluate")
    return count(results, num_classes)


@contextmanager
def evaluating(members: Sequence[Member]) -> Iterator[None]:
    """Put the members' networks in eval mode without gradients, and restore their modes."""
    with eval_mode(*(member.model for member in members)), torch.inference_mode():
        yield


def predict_views(members: Sequence[Member], images: Tensor) -> Tensor:
    """Return each member's probabilities for each view of images [N,c,h,w]: float32 [N,M,V,K].

    To be called inside `evaluating`. All members have the same number of views.
    """
    if len(members) == 1:
        return _predict_member(members[0], images).unsqueeze(1)
    return torch.stack([_predict_member(member, images) for member in members], dim=1)


def combine(probabilities: Tensor, members: Sequence[Member]) -> Tensor:
    """Average probabilities [N,M,V,K] over views, then over members by weight: [N,K]."""
    views = probabilities
    per_member = views[:, :, 0] if views.shape[2] == 1 else views.mean(2)
    if len(members) == 1:
        return per_member[:, 0]
    # made on the device: copying them there would wait for it
    weights = torch.stack([per_member.new_full((), member.weight) for member in members])
    return torch.einsum("nmk,m->nk", per_member, weights / weights.sum())


def _predict_member(member: Member, images: Tensor) -> Tensor:
    """Return one member's probabilities for each view of images [N,c,h,w]: float32 [N,V,K]."""
    images = member.preprocessing.prepare(images)
    at_once = min(len(images), member.crops_at_once or len(images))
    num_images = max(1, at_once // member.views.num_views)

    if len(images) <= num_images:
        probabilities = _predict_chunk(member, images)
    else:
        chunks = images.split(num_images)
        probabilities = torch.cat([_predict_chunk(member, chunk) for chunk in chunks])
    return probabilities if member.class_order is None else probabilities[..., member.class_order]


def _predict_chunk(member: Member, images: Tensor) -> Tensor:
    crops = member.views(images)
    forward = member.forward or member.model
    scores = forward(member.preprocessing.normalize(as_batch(crops)))
    return numerics.probabilities(scores).unflatten(0, crops.shape[:2])


def as_batch(crops: Tensor) -> Tensor:
    """Return crops [N,V,C,s,s] as images [N*V,C,s,s] whose strides are channels_last.

    For one channel every layout is the same in memory, yet torch picks the kernel by the strides:
    LeNet's first convolution takes three times as long with contiguous ones.
    """
    return crops.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)
