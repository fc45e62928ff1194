"""What the pictures of `cnnlab visualize` are drawn from: images, labels and checkpoints."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from cnnlab import data, run_folder
from cnnlab import images as pixels
from cnnlab.config.ema import RAW
from cnnlab.config.verbs.visualize import VisualizeConfig
from cnnlab.data.decode import BadImage
from cnnlab.data.pictures import picture_files, read_pictures
from cnnlab.data.store import Store
from cnnlab.errors import DataError, UsageError
from cnnlab.evaluation.classes import match_classes
from cnnlab.files import regular
from cnnlab.inference.datasets import dataset_config, named_split
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.models import Network
from cnnlab.preprocessing import Preprocessing
from cnnlab.run_folder import names
from cnnlab.safe_output import escape_control, say
from cnnlab.visualization.probe import Batches, ImageSet, Probe

MOST_PICTURES = 256
"""Picture files of the user's own that are looked at."""


def probe_of(config: VisualizeConfig, stored: StoredNetwork) -> Probe:
    """Read the data set and return the images and settings that a network's pictures use."""
    splits = data.build(dataset_config(config.dataset, stored))
    store, train = named_split(splits, config.split), splits.train
    labels = network_labels(store, stored)
    see = central_view(stored.preprocessing, stored.network.input_size_pixels)
    images, known, set_title = chosen_images(config, store, labels, see)
    searched = (config.batch_size, config.search_images)

    return Probe(
        images=images,
        labels=None if known is None else known.to(stored.device),
        class_names=stored.class_names,
        normalize=stored.preprocessing.normalize,
        image_set=image_set(store, labels, see, *searched),
        train_set=image_set(train, network_labels(train, stored), see, *searched),
        checkpoints=saved_networks(stored, config.runtime.channels_last),
        model_title=str(stored.config["model"]["name"]),
        checkpoint_title=f"{stored.path.stem} ({checkpoint_label(stored)})",
        set_title=set_title,
        layer=config.layer,
        units=None if config.units is None else tuple(config.units),
        num_units=config.num_units,
        signal=config.signal,
        square_pixels=config.square_pixels,
        square_stride=config.square_stride,
        batch_size=config.batch_size,
    )


def chosen_images(
    config: VisualizeConfig, store: Store, labels: Tensor, see: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None, str]:
    """Return the chosen images uint8 [N,C,S,S], their labels where known, and their title."""
    if config.images:
        return read_images(config.images, see, store.image_shape[2]), None, "own pictures"
    chosen = (
        balanced_indices(labels, config.num_images)
        if config.indices is None
        else checked_indices(config.indices, store)
    )
    return see(store.read(chosen)), labels[chosen], f"{store.name} {store.split}"


def network_labels(store: Store, stored: StoredNetwork) -> Tensor:
    """Return the store's labels in the network's class order. Raises DataError for others."""
    order = match_classes(stored.class_names, store.class_names, "the checkpoint", "the data")
    return store.labels if order is None else order[store.labels]


def central_view(preprocessing: Preprocessing, size: int) -> Callable[[Tensor], Tensor]:
    """Return a function that cuts the central view: stored uint8 [n,H,W,C] -> [n,C,S,S]."""

    def see(stored: Tensor) -> Tensor:
        on_device = stored.to(preprocessing.mean.device).permute(0, 3, 1, 2)
        return pixels.center_crop(preprocessing.prepare(on_device), size)

    return see


def image_set(
    store: Store,
    labels: Tensor,
    see: Callable[[Tensor], Tensor],
    batch_size: int,
    limit: int | None = None,
) -> ImageSet:
    """Return the store's images, or `limit` of them with as many of each class.

    labels: of the store, in the network's class order. The first ones would not do: many sets are
    sorted by class.
    """
    count = len(store) if limit is None else min(limit, len(store))
    chosen = (
        torch.arange(count)
        if count == len(store)
        else balanced_indices(labels, count).sort().values
    )

    def read(indices: Tensor) -> Tensor:
        return see(store.read(chosen[indices.cpu()]))

    def batches() -> Batches:
        for indices in torch.arange(count).split(batch_size):
            images = read(indices)
            yield images, labels[chosen[indices]].to(images.device)

    return ImageSet(f"{store.name} {store.split}", count, batches, read, labels[chosen])


def balanced_indices(labels: Tensor, count: int) -> Tensor:
    """Return the indices of `count` images, the first of each class, then the second, ...

    The order depends on the labels only, so the same images are shown every time.
    """
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        is_class = labels == label
        rank[is_class] = torch.arange(int(is_class.sum()))
    order = (rank * (int(labels.max()) + 1) + labels).argsort(stable=True)
    return order[:count]


def checked_indices(indices: list[int], store: Store) -> Tensor:
    """Return the indices as a tensor. Raises UsageError when the split has no such image."""
    for index in indices:
        if index >= len(store):
            raise UsageError(
                f"{store.name} has no {store.split} image {index}",
                hint=f"its images are 0 to {len(store) - 1}",
            )
    return torch.tensor(indices)


def read_images(given: list[str], see: Callable[[Tensor], Tensor], channels: int) -> Tensor:
    """Read picture files and cut their central view: uint8 [N,C,S,S].

    Raises DataError for a path without pictures, and for the first that cannot be read.
    """
    files, left_out = picture_files(given)
    if left_out.counts:
        say(str(left_out))
    if len(files) > MOST_PICTURES:
        say(f"the first {MOST_PICTURES} of {len(files):,} pictures")

    seen = []
    for path, picture in read_pictures(files[:MOST_PICTURES], channels):
        if isinstance(picture, BadImage):
            raise DataError("a picture cannot be read", escape_control(str(path)), picture.reason)
        seen.append(see(picture.permute(1, 2, 0)[None]))
    return torch.cat(seen)


def saved_networks(
    newest: StoredNetwork, channels_last: bool
) -> Callable[[], Iterator[tuple[str, Network]]] | None:
    """Return what iterates over the run's numbered checkpoints, oldest first: (label, network).

    newest: the network whose run it is. One network is in memory at a time. Returns None when there
    are fewer than two.
    """
    files = names.kept(newest.path.parent)
    if len(files) < 2:
        return None

    def networks() -> Iterator[tuple[str, Network]]:
        for path in files:
            stored = open_network(
                path,
                newest.device,
                channels_last=channels_last,
                which_weights=newest.which_weights,
            )
            yield checkpoint_label(stored), stored.network

    return networks


def checkpoint_label(stored: StoredNetwork) -> str:
    """Return when a checkpoint was written: 'epoch 3', or its step, or the file's name.

    ', ema' follows where the network has the moving average of the weights.
    """
    written = _written(stored)
    return written if stored.which_weights == RAW else f"{written}, {stored.which_weights}"


def _written(stored: StoredNetwork) -> str:
    epoch, step = stored.document.get("epoch"), stored.document.get("step")
    if isinstance(epoch, int | float):
        return f"epoch {epoch:.3g}"
    return f"step {step}" if isinstance(step, int) else stored.path.stem


def pictures_folder(checkpoint: Path) -> Path:
    """Return pictures/ in the checkpoint's run folder, or beside a checkpoint without one."""
    try:
        pictures = run_folder.find_run(checkpoint).path / "pictures"
    except UsageError:
        return checkpoint.parent / "pictures"
    regular.check_folder(pictures)
    return pictures
