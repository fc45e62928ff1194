"""The curvature of each weight on some training images, for optimizer=levenberg_marquardt."""

import torch
from torch import Tensor, nn

from cnnlab.config import MODELS, TrainConfig
from cnnlab.config.loss import DefaultLossConfig
from cnnlab.config.tables import load_by_name
from cnnlab.config.training import LevenbergMarquardtConfig
from cnnlab.data.augment import Augmentation
from cnnlab.data.store import Store
from cnnlab.data.upload import upload, upload_together
from cnnlab.errors import UsageError
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator
from cnnlab.training.levenberg_marquardt import Estimate


def estimate_on(
    store: Store, preprocessing: Preprocessing, augmentation: Augmentation, config: TrainConfig
) -> Estimate:
    """Return the curvature estimate over `optimizer.num_curvature_images` random training images.

    preprocessing: on the network's device. The images are augmented as in training, and chosen by
    (seed, step), so that a resumed run chooses the same. Raises UsageError for a model or a loss
    whose curvature is not known.
    """
    assert isinstance(config.optimizer, LevenbergMarquardtConfig)
    place = MODELS[config.model.name].curvature
    if place is None:
        known = [name for name, row in MODELS.items() if row.curvature is not None]
        raise UsageError(
            f"optimizer=levenberg_marquardt knows the curvature of {', '.join(known)}, not of "
            f"{config.model.name}",
            hint=f"choose model={known[0]}, or optimizer=sgd",
        )

    if not isinstance(config.loss, DefaultLossConfig) or config.loss.weighs_classes:
        raise UsageError(
            "optimizer=levenberg_marquardt knows the curvature of the plain losses alone",
            hint="leave loss and loss.class_weights out, or choose optimizer=sgd",
        )

    diagonal = load_by_name(place)
    num_images = min(config.optimizer.num_curvature_images, len(store))

    def estimate(model: nn.Module, step: int) -> dict[str, Tensor]:
        generator = make_generator(config.seed, "curvature", step)
        indices = torch.randperm(len(store), generator=generator)[:num_images].sort().values
        pixels = store.read(indices).permute(0, 3, 1, 2)
        device = preprocessing.mean.device
        images = preprocessing.prepare(upload(pixels, device))
        parameters = augmentation.draw(num_images, images.shape[-1], generator)
        augmented = augmentation.apply(images, upload_together(parameters, device))
        curvature: dict[str, Tensor] = diagonal(model, preprocessing.normalize(augmented))
        return curvature

    return estimate
