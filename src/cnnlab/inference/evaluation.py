"""Checkpoints measured on a split of a data set: every image is shown once, and counted."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cnnlab import data, interrupts, session
from cnnlab.config import DatasetConfig, EvaluateConfig, StoredDatasetConfig, parse_dataset
from cnnlab.data.recorded import as_recorded
from cnnlab.data.store import Splits, Store
from cnnlab.data.stream import InOrder
from cnnlab.distributed import Peers, Share
from cnnlab.errors import CheckpointError, DataError, Interrupted, UsageError
from cnnlab.evaluation import sharing
from cnnlab.evaluation.ensemble import MemberObserver
from cnnlab.evaluation.evaluate import EvaluationStopped, Member, Observer, evaluate
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import NUM_MISSES, SavedProbabilities, WorstMisses
from cnnlab.inference.answer import Answer
from cnnlab.inference.members import as_member, checkpoint_files, open_networks
from cnnlab.inference.network import StoredNetwork
from cnnlab.session import Session


def measure(
    config: EvaluateConfig,
    folder: Path | None = None,
    here: Session | None = None,
) -> Answer:
    """Show every image of the split to the members once, and return all that was learned.

    folder: where probabilities are saved if they are asked for. here: None begins a session, for
    one process. Raises Interrupted on Ctrl-C.
    """
    here = here or session.begin(config.runtime)
    device, peers = here.device, here.peers
    check_evaluation(peers, config)
    files = checkpoint_files(config.checkpoint)
    networks = open_networks(files, device, channels_last=here.channels_last)
    dataset = dataset_config(config.dataset, networks[0])
    store = split_of(dataset, config.split)
    members = [
        as_member(
            network,
            config.evaluation,
            class_names=store.class_names,
            mirror_allowed=store.mirror_allowed,
            dataset=store.name,
        )
        for network in networks
    ]
    weigh(members, config.weights)
    misses = WorstMisses(NUM_MISSES, torch.tensor([m.weight for m in members]))
    counting = MemberObserver()
    observers: list[Observer] = [misses] if len(members) == 1 else [misses, counting]
    with saved(config, folder, len(store), observers):
        batches = in_order(members, store, dataset, config, device, peers.share)
        tally = judge(members, batches, len(store.class_names), here, observers)
    found = sharing.worst_of_all(peers, misses.misses, len(store), NUM_MISSES)
    counts = sharing.counts_of_all(peers, counting.counts)
    states = [state_now(network, dataset, config.split, store) for network in networks]
    return Answer(config, store, networks, members, tally, found, counts, states)


def weigh(members: Sequence[Member], weights: Sequence[float] | None) -> None:
    """Give the members their weights, as shares. Raises UsageError where they do not fit."""
    given = [1.0] * len(members) if weights is None else list(weights)
    if len(given) != len(members) or sum(given) <= 0:
        raise UsageError(
            f"weights={given} do not fit {len(members)} checkpoints",
            hint="one number a checkpoint, at least one above 0",
        )
    for member, weight in zip(members, given, strict=True):
        member.weight = weight / sum(given)


@contextlib.contextmanager
def saved(
    config: EvaluateConfig, folder: Path | None, num_images: int, observers: list[Observer]
) -> Iterator[None]:
    """Let the probabilities of the block be written into `folder` if they are asked for."""
    if not config.save_probabilities or folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    keeper = SavedProbabilities(folder, num_images)
    observers.append(keeper)
    yield
    keeper.close()


def in_order(
    members: list[Member],
    store: Store,
    dataset: DatasetConfig,
    config: EvaluateConfig,
    device: torch.device,
    share: Share,
) -> InOrder:
    """Return the images in batches, prepared once where all members want the same size."""
    return InOrder(
        store,
        batch_size=config.batch_size,
        device=device,
        residency=dataset.residency,
        prepare=_shared_preparation(members),
        share=share,
    )


def judge(
    members: list[Member],
    batches: InOrder,
    num_classes: int,
    here: Session,
    observers: Sequence[Observer] = (),
) -> Tally:
    """Count the members' errors on the batches of all sharing. Raises Interrupted on Ctrl-C."""
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

    with interrupts.watching():
        try:
            return sharing.judged(peers, len(batches), count)
        except EvaluationStopped:
            number = peers.largest(interrupts.requested() or 0) or signal.SIGINT
            raise Interrupted(interrupts.exit_code(number)) from None


def dataset_config(
    asked: DatasetConfig | StoredDatasetConfig, network: StoredNetwork
) -> DatasetConfig:
    """Return the set to evaluate on: the one asked for, else the one the checkpoint names."""
    if isinstance(asked, DatasetConfig):
        return asked
    try:
        stored = parse_dataset(network.config["dataset"])
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(
            "the checkpoint's data set is not one of this cnnlab",
            str(network.path),
            "name one to evaluate on: dataset=NAME",
        ) from error
    return asked.applied_to(stored)


def state_now(
    network: StoredNetwork, dataset: DatasetConfig, split: str, store: Store
) -> bool | None:
    """Return whether these are the images that the network's run recorded; None: it recorded none.

    Another set than the run's is another set, not another state of one.
    """
    trained_on = network.config.get("dataset")
    if not isinstance(trained_on, dict) or trained_on.get("name") != dataset.name:
        return None
    return as_recorded(network.document, split, store)


def split_of(dataset: DatasetConfig, split: str) -> Store:
    """Read the set and return one of its splits."""
    return named_split(data.build(dataset), split)


def named_split(splits: Splits, split: str) -> Store:
    """Return one of the splits; raise DataError, which names those that are there."""
    store: Store | None = getattr(splits, split)
    if store is None:
        there = [name for name in ("test", "validation", "train") if getattr(splits, name)]
        raise DataError(
            f"{splits.train.name} has no {split} images here",
            hint=f"choose {' or '.join(f'split={name}' for name in there)}",
        )
    return store


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
            "save_probabilities writes one file, image by image: one process does that",
            f"torchrun started {peers.size}",
            "cnnlab evaluate without torchrun",
        )
