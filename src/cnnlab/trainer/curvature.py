"""How lenet5_1998 trains: its loss, and the curvature on some images before each epoch."""

import torch
from torch import Tensor, nn

from cnnlab.config import TrainConfig
from cnnlab.config.models import Lenet5Of1998Config, ModelConfig
from cnnlab.config.training import LevenbergMarquardtConfig
from cnnlab.data.augment import Augmentation
from cnnlab.data.store import Store
from cnnlab.errors import UsageError
from cnnlab.models import Network, curvature
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator
from cnnlab.training.levenberg_marquardt import Estimate


def loss_of(model: ModelConfig) -> str:
    """Return the name of a model's training loss."""
    return model.loss if isinstance(model, Lenet5Of1998Config) else "cross_entropy"


def estimate_on(
    store: Store, preprocessing: Preprocessing, augmentation: Augmentation, config: TrainConfig
) -> Estimate:
    """Return the curvature estimate over `optimizer.num_curvature_images` random training images.

    preprocessing: on the network's device. The images are augmented as in training, and chosen by
    (seed, step), so that a resumed run chooses the same. Raises UsageError for other models than
    lenet5_1998.
    """
    assert isinstance(config.optimizer, LevenbergMarquardtConfig)
    if not isinstance(config.model, Lenet5Of1998Config):
        raise UsageError(
            f"optimizer=levenberg_marquardt knows the curvature of lenet5_1998, not of "
            f"{config.model.name}",
            hint="choose model=lenet5_1998, or optimizer=sgd",
        )

    num_images = min(config.optimizer.num_curvature_images, len(store))

    def estimate(model: nn.Module, step: int) -> dict[str, Tensor]:
        assert isinstance(model, Network)
        generator = make_generator(config.seed, "curvature", step)
        indices = torch.randperm(len(store), generator=generator)[:num_images].sort().values
        pixels = store.read(indices).permute(0, 3, 1, 2)
        images = preprocessing.prepare(pixels.to(preprocessing.mean.device))
        parameters = augmentation.draw(num_images, images.shape[-1], generator)
        augmented = augmentation.apply(images, parameters)
        return curvature.diagonal(model, preprocessing.normalize(augmented))

    return estimate
