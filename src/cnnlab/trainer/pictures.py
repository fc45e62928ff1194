"""Pictures of a network in training, for TensorBoard's image tab, and after it, for the report."""

from cnnlab.errors import UsageError
from cnnlab.inference.probing import balanced_indices, central_view, image_set
from cnnlab.models import Network
from cnnlab.models.towers import SplitNetwork
from cnnlab.reports import sections
from cnnlab.reports.page import Section
from cnnlab.trainer.assemble import Assembly
from cnnlab.visualization import draw
from cnnlab.visualization.hook import PictureHook, WriteImage
from cnnlab.visualization.probe import Probe

WHILE_TRAINING = ("filters", "deconvnet")
IN_REPORTS = ("top9", "neighbors", "predictions", "invariance")
NUM_IMAGES, NUM_UNITS, NUM_SEARCHED, BATCH = 32, 8, 500, 125


def draw_while_training(parts: Assembly, write_image: WriteImage, step: int) -> None:
    """Draw the first kernels and the projections of four images, for TensorBoard's image tab."""
    probe = probe_of_run(parts, f"step {step}", 4)
    PictureHook(WHILE_TRAINING, probe, write_image)(on_one_device(parts.judged), step)


def sections_of_run(parts: Assembly, checkpoint_title: str) -> list[Section]:
    """Return one section per entry of PICTURES in a report that the network supports."""
    network = on_one_device(parts.judged)
    probe = probe_of_run(parts, checkpoint_title, NUM_IMAGES)

    found = []
    for name in IN_REPORTS:
        try:
            found.append(sections.pictures(name, draw(name, network, probe)))
        except UsageError:
            continue
    return found


def on_one_device(network: Network) -> Network:
    """Return the network, or its grouped form if its towers are on two devices."""
    return network.grouped() if isinstance(network, SplitNetwork) else network


def probe_of_run(parts: Assembly, checkpoint_title: str, num_images: int) -> Probe:
    """Return a probe of validation images, or of training images if none are held out.

    Test images are never used: what they show could still change the run.
    """
    train = parts.splits.train
    store = parts.splits.validation or train
    see = central_view(parts.preprocessing, parts.network.input_size_pixels)
    chosen = balanced_indices(store.labels, num_images)

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
