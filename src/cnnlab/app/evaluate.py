"""`cnnlab evaluate`: the error of one network, or of several as an ensemble, from paths alone."""

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import torch

from cnnlab import data, interrupts, runtime
from cnnlab.app.members import as_member, checkpoint_files, open_networks
from cnnlab.app.stored_network import StoredNetwork, import_plugins
from cnnlab.config import VARIANTS, DatasetConfig, EvaluateConfig, Launch, StoredDatasetConfig
from cnnlab.config.schema import parse
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.data.stream import InOrder
from cnnlab.errors import CheckpointError, DataError, Interrupted, UsageError
from cnnlab.evaluation.evaluate import EvaluationStopped, Member, Observer, evaluate
from cnnlab.evaluation.metrics import Tally


def run(config: EvaluateConfig, launch: Launch) -> int:
    """Evaluate the checkpoints on the chosen split, print the answer, return 0."""
    import_plugins(config.plugins)
    device = runtime.select_device(config.runtime.device)
    _configure(config, device)
    networks = open_networks(checkpoint_files(config.checkpoint), device, config.runtime)
    dataset = dataset_config(config, networks[0])
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
    started = time.perf_counter()
    tally = judge(members, store, dataset, config, device)
    seconds = time.perf_counter() - started
    if config.format == "json":
        print(json.dumps(document(config, store, members, tally), indent=2))
    else:
        show(Console(), config, store, tally, seconds)
    return 0


def judge(
    members: list[Member],
    store: Store,
    dataset: DatasetConfig,
    config: EvaluateConfig,
    device: torch.device,
    observers: tuple[Observer, ...] = (),
) -> Tally:
    """Show the members every image of the store once. Raises Interrupted on Ctrl-C."""
    batches = InOrder(
        store,
        batch_size=config.batch_size,
        device=device,
        residency=dataset.residency,
        prepare=_shared_preparation(members),
    )
    precision = runtime.forward_precision(config.runtime.precision, device)
    with interrupts.watching():
        try:
            with precision():
                return evaluate(
                    members,
                    batches,
                    num_classes=len(store.class_names),
                    observers=observers,
                    should_stop=interrupts.requested,
                )
        except EvaluationStopped:
            raise Interrupted(
                interrupts.exit_code(interrupts.requested() or signal.SIGINT)
            ) from None


def dataset_config(config: EvaluateConfig, network: StoredNetwork) -> DatasetConfig:
    """Return the set to evaluate on: the one asked for, else the one the checkpoint names."""
    if isinstance(config.dataset, DatasetConfig):
        return config.dataset
    assert isinstance(config.dataset, StoredDatasetConfig)
    try:
        plain = config.dataset.applied_to(network.config["dataset"])
        return parse(DatasetConfig, plain, "dataset", VARIANTS)
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(
            "the checkpoint's data set is not one of this cnnlab",
            str(network.path),
            "name one to evaluate on: dataset=NAME",
        ) from error


def split_of(dataset: DatasetConfig, split: str) -> Store:
    """Read the set and return one of its splits."""
    splits = data.build(dataset)
    store: Store | None = getattr(splits, split)
    if store is None:
        raise DataError(
            f"{dataset.name} has no {split} images", hint="dataset.num_validation holds some out"
        )
    return store


def document(
    config: EvaluateConfig, store: Store, members: list[Member], tally: Tally
) -> dict[str, Any]:
    """Return the answer as plain data; errors are fractions."""
    return {
        "dataset": store.name,
        "split": config.split,
        "evaluation": config.evaluation.name,
        "checkpoints": [member.name for member in members],
        "num_images": tally.num_images,
        "top1_error": tally.top1_error,
        "top5_error": tally.top5_error,
        "cross_entropy": tally.cross_entropy,
    }


def show(
    console: Console, config: EvaluateConfig, store: Store, tally: Tally, seconds: float
) -> None:
    """Print the answer for people; errors in percent."""
    console.line(f"{store.describe()}, {config.evaluation.name}")
    console.table(
        ["", "value", "95 % interval"],
        [
            ["top-1 error", percent(tally.top1_error), interval(tally.top1_interval)],
            ["top-5 error", percent(tally.top5_error), interval(tally.top5_interval)],
            ["cross-entropy", f"{tally.cross_entropy:.4f}", ""],
            ["calibration error", percent(tally.calibration_error), ""],
        ],
    )
    rate = tally.num_images / max(seconds, 1e-9)
    console.line(
        f"{tally.top1_errors:,} of {tally.num_images:,} images wrong;"
        f" {seconds:.1f} s, {rate:,.0f} images a second"
    )


def percent(fraction: float) -> str:
    """Return '2.30 %'."""
    return f"{100 * fraction:.2f} %"


def interval(bounds: tuple[float, float]) -> str:
    """Return '1.54 to 3.43 %'."""
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"


def _configure(config: EvaluateConfig, device: torch.device) -> None:
    runtime.configure(
        device,
        precision=config.runtime.precision,
        num_threads=config.runtime.num_threads,
        deterministic=config.runtime.deterministic,
    )


def _shared_preparation(members: list[Member]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Prepare the images once where all members want the same size; else each prepares its own."""
    wanted = {
        (m.preprocessing.channels, m.preprocessing.image_size_pixels, m.preprocessing.pad_pixels)
        for m in members
    }
    return members[0].preprocessing.prepare if len(wanted) == 1 else lambda images: images
