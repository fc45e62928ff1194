"""Checkpoints -> members of one ensemble: views and class order fitted to the data."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cnnlab import run_folder
from cnnlab.config.evaluation import CroppedEvaluationConfig, EvaluationConfig
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.evaluation import views
from cnnlab.evaluation.classes import match_classes
from cnnlab.evaluation.evaluate import Member, crops_that_stay
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.models import Network
from cnnlab.models.summary import largest_map
from cnnlab.printable import printable
from cnnlab.run_folder import RunFolder

MEMBERS_FOLDER = "members"
"""Folder of an ensemble's run folder that holds a run folder for each member."""

MOST_MEMBERS = 10_000
"""More than any ensemble has; a larger number in a run.json is no number of members."""

MEMBER_RUNS = "member_runs"
"""What an ensemble's run.json calls the folders of its members, relative to its own."""


def checkpoint_files(given: Sequence[str]) -> list[Path]:
    """Return the checkpoint files of paths, run folders, ensembles' folders and `latest`."""
    return [file for where in given for file in _files(where)]


def _files(where: str) -> list[Path]:
    folder = run_folder.find_run(where) if where == "latest" else run_folder.RunFolder(where)
    if members := member_folders(folder):
        return [run_folder.resolve_checkpoint(member) for member in members]
    return [run_folder.resolve_checkpoint(where)]


def member_name(index: int, seed: int) -> str:
    """Return the name of a member's run folder."""
    return f"{index:02d}_seed{seed}"


def member_folders(folder: RunFolder) -> list[Path]:
    """Return the run folders of an ensemble's members as its run.json has them; [] if it is none.

    What else lies beside them is no member, and a member that is gone is not passed over.
    """
    facts = folder.status()
    names = facts.get(MEMBER_RUNS)
    if isinstance(names, list):
        return [_inside(folder.path, str(name)) for name in names]

    number, seed = facts.get("members"), facts.get("seed")
    if not isinstance(number, int) or not isinstance(seed, int) or number > MOST_MEMBERS:
        return []
    # an ensemble of before the members were listed
    return [folder.path / MEMBERS_FOLDER / member_name(i, seed + i) for i in range(number)]


def _inside(folder: Path, name: str) -> Path:
    """Return a folder below another. Raises CheckpointError for a name that leads out of it."""
    path = folder / name
    if ".." in path.parts or folder not in path.parents:
        raise CheckpointError(
            "the ensemble names a member outside of its folder", printable(str(path))
        )
    return path


def output_folder(given: Sequence[str], output: str | None) -> Path | None:
    """Return where an evaluation's report goes: the one run folder of all checkpoints, or None."""
    if output is not None:
        return Path(output)
    runs = {_run_of(where) for where in given}
    return runs.pop() if len(runs) == 1 else None


def _run_of(where: str) -> Path | None:
    try:
        return run_folder.find_run(where).path
    except UsageError:
        return None


def open_networks(
    paths: Sequence[Path], device: torch.device, *, channels_last: bool
) -> list[StoredNetwork]:
    """Open every checkpoint. Raises CheckpointError when they do not name the same classes."""
    networks = [open_network(p, device, channels_last=channels_last) for p in paths]
    first = networks[0]
    for other in networks[1:]:
        try:
            match_classes(other.class_names, first.class_names, str(other.path), str(first.path))
        except DataError as error:
            raise CheckpointError(error.what, error.where, error.hint) from error
    return networks


def as_member(
    stored: StoredNetwork,
    evaluation: EvaluationConfig,
    *,
    class_names: Sequence[str],
    mirror_allowed: bool,
    dataset: str,
) -> Member:
    """Fit one stored network to the data: views over its training border, classes by name.

    Raises UsageError for views the data does not admit, DataError for other classes.
    """
    forced = bool(stored.config["augment"].get("force_mirror"))
    built = views.build(
        evaluation.name,
        crop_pixels=stored.network.input_size_pixels,
        image_pixels=stored.preprocessing.image_size_pixels,
        padding_pixels=_border_pixels(stored, evaluation),
        mirror_allowed=mirror_allowed or forced,
        dataset=dataset,
    )
    order = match_classes(stored.class_names, class_names, "the checkpoint", "the data")
    return Member(
        str(stored.path),
        stored.network,
        stored.preprocessing,
        built,
        None if order is None else order.to(stored.preprocessing.mean.device),
        crops_at_once=crops_at_once(stored.network, stored.preprocessing.mean.device),
    )


def crops_at_once(network: Network, device: torch.device) -> int | None:
    """Return how many crops a forward pass should have, None where any number is as good."""
    return crops_that_stay(largest_map(network)) if device.type == "cpu" else None


def _border_pixels(stored: StoredNetwork, evaluation: EvaluationConfig) -> int:
    if not isinstance(evaluation, CroppedEvaluationConfig):
        return 0
    if evaluation.padding_pixels is None:
        return stored.training_border_pixels
    return evaluation.padding_pixels
