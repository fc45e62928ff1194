"""Checkpoints -> members of one ensemble, with the views and the class order of the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from cnnlab import run_folder
from cnnlab.config.bounds import MOST_MEMBERS
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.data import reflection
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.evaluation import views
from cnnlab.evaluation.classes import match_classes
from cnnlab.evaluation.evaluate import Member, crops_per_cpu_pass
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.models import Network, kernels
from cnnlab.models.summary import largest_map, summarize
from cnnlab.preprocessing import Preprocessing
from cnnlab.run_folder import RunFolder
from cnnlab.safe_output import escape_control, say
from cnnlab.session import Session

MEMBERS_FOLDER = "members"
"""Subfolder of an ensemble's run folder with one run folder per member."""

MEMBER_RUNS = "member_runs"
"""Key of an ensemble's run.json: the members' run folders, relative to its own."""


def checkpoint_files(given: Sequence[str]) -> list[Path]:
    """Return the checkpoint files that paths, run folders, ensembles' folders or `latest` mean."""
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
    """Return the run folders of an ensemble's members as its run.json lists them; [] without any.

    Other folders beside them are ignored, and a missing member is still returned.
    """
    facts = folder.status()
    names = facts.get(MEMBER_RUNS)
    if isinstance(names, list):
        return [_inside(folder.path, str(name)) for name in names]

    number, seed = facts.get("members"), facts.get("seed")
    if not isinstance(number, int) or not isinstance(seed, int) or number > MOST_MEMBERS:
        return []
    # ensembles of earlier versions recorded the number of members only
    earlier = [f"{MEMBERS_FOLDER}/{member_name(i, seed + i)}" for i in range(number)]
    return [_inside(folder.path, name) for name in earlier]


def _inside(folder: Path, name: str) -> Path:
    """Return `folder / name`. Raises CheckpointError for what leads out of the folder."""
    path = folder / name
    leads_out = ".." in path.parts or folder not in path.parents
    if leads_out or folder.resolve() not in path.resolve().parents:  # through a link in it
        raise CheckpointError(
            "the ensemble lists a member outside its folder", escape_control(str(path))
        )
    return path


def output_folder(given: Sequence[str], output: str | None) -> Path | None:
    """Return where an evaluation's report goes: the checkpoints' common run folder, or None."""
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
    paths: Sequence[Path], here: Session, which_weights: str | None = None
) -> list[StoredNetwork]:
    """Open every checkpoint, to be run as `here` says.

    Raises CheckpointError when their class names differ.
    """
    networks = [
        open_network(
            path, here.device, channels_last=here.channels_last, which_weights=which_weights
        )
        for path in paths
    ]
    chosen = [kernels.use(stored.network, here.kernels) for stored in networks]
    for line in sorted({each.line for each in chosen if each.is_missed and each.line}):
        say(f"runtime.kernels=auto chose {line}")

    first, *others = networks
    for other in others:
        try:
            match_classes(other.class_names, first.class_names, str(other.path), str(first.path))
        except DataError as error:
            raise CheckpointError(error.what, error.where, error.hint) from error
    return networks


@dataclass(frozen=True, eq=False)
class EvaluableNetwork:
    """A network and all that decides its test views, while training and from a checkpoint.

    augment: the plain section of its training config. mirror_allowed, dataset: whether the classes
    of the test images are unchanged by mirroring, and the name of their set.
    """

    network: Network
    preprocessing: Preprocessing
    augment: Mapping[str, Any]
    mirror_allowed: bool
    dataset: str

    def member(self, name: str, evaluation: EvaluationConfig) -> Member:
        """Return the network with the views of `evaluation`, as an ensemble of one.

        Raises UsageError for views that would be alike or mirror what must not be mirrored,
        DataError for images smaller than the crop.
        """
        built = views.build(
            evaluation.name,
            crop_pixels=self.network.input_size_pixels,
            image_pixels=self.preprocessing.image_size_pixels,
            padding_pixels=self._border_pixels(evaluation),
            mirror_allowed=self._may_be_mirrored,
            dataset=self.dataset,
        )
        return Member(
            name, self.network, self.preprocessing, built, crops_at_once=self._crops_at_once
        )

    def admitted_views(self) -> list[str]:
        """Return the names of the views that `member` accepts with the border of training."""
        return views.admitted(
            self.preprocessing.image_size_pixels,
            self.network.input_size_pixels,
            padding_pixels=self._training_border_pixels,
            mirror_allowed=self._may_be_mirrored,
        )

    @property
    def _may_be_mirrored(self) -> bool:
        return self.mirror_allowed or bool(self.augment.get("force_mirror"))

    @property
    def _training_border_pixels(self) -> int:
        return int(self.augment.get("padding_pixels") or 0)

    def _border_pixels(self, evaluation: EvaluationConfig) -> int:
        """Return the width of the black border around the images; by default that of training.

        Small images have the size of the network's input: without it all crops would coincide.
        """
        if evaluation.name == "center":
            return 0
        asked: int | None = getattr(evaluation, "padding_pixels", None)
        return self._training_border_pixels if asked is None else asked

    @cached_property
    def _crops_at_once(self) -> int | None:
        return crops_at_once(self.network, self.preprocessing.mean.device)


def as_member(
    stored: StoredNetwork,
    evaluation: EvaluationConfig,
    *,
    class_names: Sequence[str],
    mirror_allowed: bool,
    dataset: str,
    weight: float = 1.0,
) -> Member:
    """Return a stored network as a member whose classes are put in the data's order, by name.

    weight: share in the ensemble's average. Raises UsageError for views that do not suit the data,
    DataError for other classes.
    """
    evaluable = EvaluableNetwork(
        stored.network, stored.preprocessing, stored.config["augment"], mirror_allowed, dataset
    )
    member = evaluable.member(str(stored.path), evaluation)

    order = match_classes(stored.class_names, class_names, "the checkpoint", "the data")
    if order is not None:
        order = order.to(stored.device)
    return replace(member, class_order=order, weight=weight)


def training_admits_mirroring(config: Mapping[str, Any]) -> bool:
    """Return whether a network's training images may be mirrored; none of them is read.

    config: the plain config of its training. Augmentations that mirror have `force_mirror`;
    training refuses them where mirroring changes the class, unless it is true.
    """
    return "force_mirror" in config["augment"] or bool(
        reflection.is_mirror_allowed(config["dataset"])
    )


def multiply_adds_per_pass(members: Sequence[Member], num_images: int) -> int:
    """Return the most multiply-adds of one forward pass that these members make of a batch."""

    def of(member: Member) -> int:
        assert isinstance(member.model, Network)
        crops = min(num_images, member.crops_at_once or num_images)
        return max(member.views.num_views, crops) * summarize(member.model).num_multiply_adds

    return max(map(of, members))


def crops_at_once(network: Network, device: torch.device) -> int | None:
    """Return the most crops per forward pass that keep it fast on a CPU; None for no limit."""
    return crops_per_cpu_pass(largest_map(network)) if device.type == "cpu" else None
