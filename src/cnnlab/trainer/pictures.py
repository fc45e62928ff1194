"""Pictures while a run goes on and at its end: TensorBoard's image tab, sections of a report."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cnnlab.errors import UsageError
from cnnlab.inference.probing import as_seen, image_set, spread
from cnnlab.models import Network
from cnnlab.models.towers import SplitNetwork
from cnnlab.reports import page as report
from cnnlab.reports.sections import drawn
from cnnlab.trainer.assemble import Assembly
from cnnlab.visualization import draw
from cnnlab.visualization.figures import Picture
from cnnlab.visualization.hook import PictureHook, WriteImage
from cnnlab.visualization.probe import Probe

WHILE_TRAINING = ("filters", "deconvnet")
IN_REPORTS = ("top9", "neighbors", "predictions", "invariance")
NUM_IMAGES, NUM_UNITS, NUM_SEARCHED, BATCH = 32, 8, 500, 125


def draw_while_training(parts: Assembly, write_image: WriteImage, step: int) -> None:
    """Draw the first kernels and the projections of four images, for TensorBoard's image tab."""
    probe = probe_of_run(parts, f"step {step}", 4)
    PictureHook(WHILE_TRAINING, probe, write_image)(on_one_device(parts.network), step)


def on_one_device(network: Network) -> Network:
    """Return the network, or its grouped form when its towers live on two devices."""
    return network.grouped() if isinstance(network, SplitNetwork) else network


def sections_of_run(parts: Assembly, checkpoint_title: str) -> list[report.Section]:
    """Return a section a picture of a trained run; what the network cannot give is left out."""
    probe = probe_of_run(parts, checkpoint_title, NUM_IMAGES)
    return sections(on_one_device(parts.network), probe, IN_REPORTS)


def sections(model: Network, probe: Probe, names: Sequence[str]) -> list[report.Section]:
    """Draw some of PICTURES as sections of a page."""
    found = []
    for name in names:
        try:
            found.append(as_section(name, draw(name, model, probe)))
        except UsageError:
            continue
    return found


def as_section(name: str, pictures: Iterable[Picture]) -> report.Section:
    """Return the pictures of one name under one heading."""
    return report.Section(name.replace("_", " ").capitalize(), [drawn(one) for one in pictures])


def write_page(path: Path, title: str, found: dict[str, list[Picture]]) -> Path:
    """Write one page with everything that was drawn; return its path."""
    return report.write(path, title, [as_section(name, found[name]) for name in found])


def probe_of_run(parts: Assembly, checkpoint_title: str, num_images: int) -> Probe:
    """Return validation images (training images where none are held out) as pictures see them.

    Test images are never used while a run could still be changed by what is seen.
    """
    store = parts.splits.validation or parts.splits.train
    see = as_seen(parts.preprocessing, parts.network.input_size_pixels)
    chosen = spread(store.labels, num_images)
    train = parts.splits.train
    return Probe(
        images=see(store.read(chosen)),
        labels=store.labels[chosen].to(parts.device),
        class_names=train.class_names,
        normalize=parts.preprocessing.normalize,
        image_set=image_set(store, store.labels, see, BATCH, NUM_SEARCHED),
        train_set=image_set(train, train.labels, see, BATCH, NUM_SEARCHED),
        model_title=str(parts.config.model.name),
        checkpoint_title=checkpoint_title,
        set_title=f"{store.name} {store.split}",
        num_units=NUM_UNITS,
        batch_size=BATCH,
    )
