"""What the metrics that look into a network start from: the network of a run, and images."""

import json
import os
from collections.abc import Callable
from typing import Any

from cnnlab import data, interrupts
from cnnlab.errors import DataError
from cnnlab.files import atomic, regular
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.inference.probing import balanced_indices, central_view, image_set, network_labels
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.measure import Arm
from cnnlab.run_folder import resolve_checkpoint
from cnnlab.visualization.probe import Probe

BATCH = 64
"""Images in one forward pass."""


def opened(arm: Arm, run: PlannedRun) -> StoredNetwork:
    """Return the network of a run that was best on validation images."""
    return open_network(
        resolve_checkpoint(run.path), arm.here.device, channels_last=arm.here.channels_last
    )


def probe(stored: StoredNetwork, run: PlannedRun, num_images: int) -> Probe:
    """Return test images of a run, the first of each class, and its sets, as its network sees them.

    num_images: of them all, or as many as there are. Which ones depends on the labels alone.
    """
    splits = data.build(run.config.dataset)
    test = splits.test if splits.test is not None else splits.train
    see = central_view(stored.preprocessing, stored.network.input_size_pixels)
    labels = network_labels(test, stored)
    chosen = balanced_indices(labels, num_images)

    return Probe(
        images=see(test.read(chosen)),
        labels=labels[chosen].to(stored.device),
        class_names=stored.class_names,
        normalize=stored.preprocessing.normalize,
        image_set=image_set(test, labels, see, BATCH),
        train_set=image_set(splits.train, network_labels(splits.train, stored), see, BATCH),
        batch_size=BATCH,
    )


def of_each_run(arm: Arm, name: str, measure: Callable[[Arm, PlannedRun], Any]) -> list[Any]:
    """Return for each run of an arm what `measure` finds, plain data, kept for the next call.

    The files stand beside the evaluations, `RUN_NAME.json`; what is there is not measured again.
    Raises Interrupted at once after a request to stop.
    """
    return [_kept(arm, run, name, measure) for run in arm.runs]


def _kept(arm: Arm, run: PlannedRun, name: str, measure: Callable[[Arm, PlannedRun], Any]) -> Any:
    path = arm.evaluations / f"{run.path.name}_{name}.json"
    if os.path.lexists(path):
        try:
            return regular.read_json(path)
        except ValueError as error:
            hint = "remove it, and it is measured anew"
            raise DataError("a measurement is damaged", str(path), hint) from error

    with interrupts.at_once():  # a request to stop loses no more than this one measurement
        found = measure(arm, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, (json.dumps(found, allow_nan=False) + "\n").encode())
    return found
