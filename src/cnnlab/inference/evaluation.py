"""Measure the error of checkpoints on a split of a data set, reading every image once."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cnnlab import interrupts
from cnnlab.config import DatasetConfig, EvaluateConfig
from cnnlab.data.store import Store
from cnnlab.data.stream import InOrder
from cnnlab.distributed import Peers, Share
from cnnlab.errors import Interrupted, UsageError
from cnnlab.evaluation import sharing
from cnnlab.evaluation.ensemble import MemberObserver
from cnnlab.evaluation.evaluate import EvaluationStopped, Member, Observer, evaluate
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import NUM_MISSES, SavedProbabilities, WorstMisses
from cnnlab.inference.datasets import dataset_config, is_as_recorded, split_of
from cnnlab.inference.members import (
    as_member,
    checkpoint_files,
    multiply_adds_per_pass,
    open_networks,
)
from cnnlab.inference.network import StoredNetwork
from cnnlab.inference.result import EvaluationResult
from cnnlab.session import Session


def measure(config: EvaluateConfig, here: Session, folder: Path | None = None) -> EvaluationResult:
    """Evaluate the checkpoints, as an ensemble if there are several.

    folder: where probabilities are saved if they are asked for. Raises Interrupted on Ctrl-C.
    """
    device, peers = here.device, here.peers
    check_evaluation(peers, config)
    files = checkpoint_files(config.checkpoint)
    weights = normalized_weights(config.weights, len(files))
    networks = open_networks(files, here, config.which_weights)

    dataset = dataset_config(config.dataset, networks[0])
    store = split_of(dataset, config.split)
    members = _members(config, networks, weights, store)
    here.feed(multiply_adds_per_pass(members, min(config.batch_size, len(store))))

    check_agreement(peers, store, networks)
    misses = WorstMisses(NUM_MISSES, torch.tensor(weights))
    counting = MemberObserver()
    saving = probability_file(config, folder, len(store))
    observers: list[Observer] = [misses] if len(members) == 1 else [misses, counting]
    batches = in_order(members, store, dataset, config, device, peers.share)
    tally = count_errors(
        members,
        batches,
        len(store.class_names),
        here,
        observers if saving is None else [*observers, saving],
    )
    if saving is not None:
        saving.close()

    return EvaluationResult(
        config=config,
        store=store,
        networks=networks,
        weights=weights,
        tally=tally,
        misses=sharing.gather_misses(peers, misses.misses, len(store), NUM_MISSES),
        counts=sharing.gather_counts(peers, counting.counts),
        as_recorded_each=[is_as_recorded(n, dataset, config.split, store) for n in networks],
    )


def _members(
    config: EvaluateConfig,
    networks: Sequence[StoredNetwork],
    weights: Sequence[float],
    store: Store,
) -> list[Member]:
    """Return the networks with their views and weights, for images of `store`."""
    return [
        as_member(
            network,
            config.evaluation,
            class_names=store.class_names,
            mirror_allowed=store.mirror_allowed,
            dataset=store.name,
            weight=weight,
        )
        for network, weight in zip(networks, weights, strict=True)
    ]


def check_agreement(peers: Peers, store: Store, networks: Sequence[StoredNetwork]) -> None:
    """Raise UsageError in all processes unless they read the same images and checkpoints."""
    if peers.size > 1:
        steps = {str(network.path): network.document.get("step") for network in networks}
        peers.agree({"data_digest": store.digest} | steps)


def normalized_weights(weights: Sequence[float] | None, num_members: int) -> list[float]:
    """Return the members' weights, scaled to add up to 1; None: equal ones.

    Raises UsageError for another number of weights, and where none is above 0.
    """
    given = [1.0] * num_members if weights is None else list(weights)
    if len(given) != num_members or sum(given) <= 0:
        raise UsageError(
            f"weights={given} do not fit {num_members} checkpoints",
            hint="one number per checkpoint, at least one above 0",
        )
    return [weight / sum(given) for weight in given]


def probability_file(
    config: EvaluateConfig, folder: Path | None, num_images: int
) -> SavedProbabilities | None:
    """Return the observer that writes every probability into `folder`, None if not asked for."""
    if not config.save_probabilities or folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return SavedProbabilities(folder, num_images)


def in_order(
    members: list[Member],
    store: Store,
    dataset: DatasetConfig,
    config: EvaluateConfig,
    device: torch.device,
    share: Share,
) -> InOrder:
    """Return the images in batches, resized once where all members take the same size."""
    return InOrder(
        store,
        batch_size=config.batch_size,
        device=device,
        residency=dataset.residency,
        prepare=_shared_preparation(members),
        share=share,
    )


def count_errors(
    members: list[Member],
    batches: InOrder,
    num_classes: int,
    here: Session,
    observers: Sequence[Observer],
) -> Tally:
    """Count the ensemble's errors on the batches of all processes. Raises Interrupted on Ctrl-C."""
    peers = here.peers

    def count() -> Tally:
        with here.forward():
            return evaluate(
                members,
                batches,
                num_classes=num_classes,
                observers=observers,
                should_stop=sharing.asked_to_stop(peers),
            )

    try:
        return sharing.gather_tally(peers, len(batches), count)
    except EvaluationStopped:
        number = peers.largest(interrupts.requested() or 0) or signal.SIGINT
        raise Interrupted(interrupts.exit_code(number)) from None


def _shared_preparation(members: list[Member]) -> Callable[[Tensor], Tensor]:
    wanted = {
        (m.preprocessing.channels, m.preprocessing.image_size_pixels, m.preprocessing.pad_pixels)
        for m in members
    }
    return members[0].preprocessing.prepare if len(wanted) == 1 else lambda images: images


def check_evaluation(peers: Peers, config: EvaluateConfig) -> None:
    """Raise UsageError for what an evaluation by several processes cannot do."""
    if peers.size > 1 and config.save_probabilities:
        raise UsageError(
            "save_probabilities needs a single process: it writes one file, image by image",
            f"torchrun started {peers.size}",
            "cnnlab evaluate without torchrun",
        )
