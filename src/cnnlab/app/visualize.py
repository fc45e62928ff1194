"""`cnnlab visualize`: look inside a trained network; the pictures go into its run folder."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cnnlab import data, run_folder, session, visualization
from cnnlab.app.bad_files import way_out_told
from cnnlab.config import PICTURES, Launch, VisualizeConfig
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.errors import UsageError
from cnnlab.evaluation.classes import match_classes
from cnnlab.inference.evaluation import dataset_config, named_split
from cnnlab.inference.network import StoredNetwork, open_network
from cnnlab.inference.probing import (
    as_seen,
    checked_indices,
    image_set,
    moment,
    pictures_folder,
    pictures_from,
    saved_networks,
    spread,
)
from cnnlab.trainer.pictures import write_page
from cnnlab.visualization.figures import Picture, save
from cnnlab.visualization.probe import Probe


def run(config: VisualizeConfig, launch: Launch) -> int:
    """Draw the asked-for pictures, say where they are, return 0."""
    if config.checkpoint is None:
        raise UsageError("checkpoint is missing", hint="checkpoint=PATH or checkpoint=latest")
    here = session.begin(config.runtime)
    checkpoint = run_folder.resolve_checkpoint(config.checkpoint)
    stored = open_network(checkpoint, here.device, channels_last=here.channels_last)
    folder = pictures_folder(checkpoint) if config.output is None else Path(config.output)
    with way_out_told(launch):  # some pictures read further images while they are drawn
        draw(config, stored, here.device, folder)
    return 0


def draw(
    config: VisualizeConfig, stored: StoredNetwork, device: torch.device, folder: Path
) -> None:
    """Draw into `folder`, and put everything on a page there."""
    probe = probe_of(config, stored, device)
    console = Console()
    found = {}
    for name in PICTURES if "all" in config.what else config.what:
        if pictures := drawn_or_none(name, stored, probe, config, console):
            found[name] = pictures
            for picture in pictures:
                show_paths(picture, save(picture, folder, config.formats), console)
    title = probe.title("what it has learned")
    console.line(f"all on one page: {write_page(folder / 'pictures.html', title, found)}")
    console.close()


def drawn_or_none(
    name: str, stored: StoredNetwork, probe: Probe, config: VisualizeConfig, console: Console
) -> list[Picture] | None:
    """Draw one entry of PICTURES.

    With what=all one that this network or run cannot give is passed over with a line.
    """
    try:
        return visualization.draw(name, stored.network, probe)
    except UsageError as error:
        if "all" not in config.what:
            raise
        console.line(f"no {name}: {error.what}")
        return None


def show_paths(picture: Picture, paths: list[Path], console: Console) -> None:
    """Say what was drawn, the numbers behind it, and where it is."""
    console.line(picture.title)
    for name, value in picture.facts.items():
        if isinstance(value, int | float):
            console.line(f"  {name.replace('_', ' ')}: {value:.3g}")
    console.line(f"  {', '.join(str(path) for path in paths)}")


def probe_of(config: VisualizeConfig, stored: StoredNetwork, device: torch.device) -> Probe:
    """Read the data and put together what the pictures are drawn from."""
    dataset = dataset_config(config.dataset, stored)
    splits = data.build(dataset)
    store = named_split(splits, config.split)
    labels = as_numbered(store, stored)
    see = as_seen(stored.preprocessing, stored.network.input_size_pixels)
    images, known, set_title = shown(config, store, labels, see)
    train_labels = as_numbered(splits.train, stored)
    searched = (config.batch_size, config.search_images)
    return Probe(
        images=images,
        labels=None if known is None else known.to(device),
        class_names=stored.class_names,
        normalize=stored.preprocessing.normalize,
        image_set=image_set(store, labels, see, *searched),
        train_set=image_set(splits.train, train_labels, see, *searched),
        checkpoints=saved_networks(stored.path, device, config.runtime.channels_last),
        model_title=str(stored.config["model"]["name"]),
        checkpoint_title=f"{stored.path.stem} ({moment(stored)})",
        set_title=set_title,
        layer=config.layer,
        units=None if config.units is None else tuple(config.units),
        num_units=config.num_units,
        signal=config.signal,
        batch_size=config.batch_size,
    )


def shown(
    config: VisualizeConfig, store: Store, labels: Tensor, see: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None, str]:
    """Return the images to look at, their labels where known, and what they are called."""
    if config.images:
        return pictures_from(config.images, see, store.image_shape[2]), None, "own pictures"
    chosen = (
        spread(labels, config.num_images)
        if config.indices is None
        else checked_indices(config.indices, store)
    )
    return see(store.read(chosen)), labels[chosen], f"{store.name} {store.split}"


def as_numbered(store: Store, stored: StoredNetwork) -> Tensor:
    """Return the store's labels as the network numbers its classes; DataError for other classes."""
    order = match_classes(stored.class_names, store.class_names, "the checkpoint", "the data")
    return store.labels if order is None else order[store.labels]
