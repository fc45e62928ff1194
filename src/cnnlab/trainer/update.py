"""The update of a run: the training step, and what surrounds it by the settings."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab import compiling
from cnnlab.config import TrainConfig
from cnnlab.config.loss import LOSSES, DefaultLossConfig
from cnnlab.config.training import LevenbergMarquardtConfig
from cnnlab.data.augment import Augmentation
from cnnlab.data.store import Store
from cnnlab.data.stream import Stream
from cnnlab.distributed import GradientSum, Peers
from cnnlab.models import Network
from cnnlab.preprocessing import Preprocessing
from cnnlab.trainer import filters
from cnnlab.trainer.curvature import estimate_on
from cnnlab.training import build_step, losses
from cnnlab.training.class_weights import WeightedStep, class_weights
from cnnlab.training.levenberg_marquardt import CurvatureStep
from cnnlab.training.loop import Step
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import DataParallel, TrainStep
from cnnlab.training.weight_average import AveragingStep, WeightAverage


@dataclass(frozen=True)
class Update:
    """How a run updates its network.

    class_weights: float64 [K] on the CPU; None: all are 1. average: of the weights; None: none is
    kept.
    """

    step: Step
    guard: NonFiniteGuard
    class_weights: Tensor | None = None
    average: WeightAverage[Network] | None = None


def build_update(
    config: TrainConfig,
    network: Network,
    stream: Stream,
    peers: Peers,
    train: Store,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
) -> Update:
    """Return the update of `network`, which is on its device, as `preprocessing` is.

    Raises UsageError for settings that do not fit the classes of `train` or the network.
    """
    weights = None
    if isinstance(config.loss, DefaultLossConfig) and config.loss.class_weights is not None:
        asked = config.loss.class_weights
        weights = class_weights(asked, train.labels, train.class_names)

    device = preprocessing.mean.device
    train_step = _train_step(config, device, weights, data_parallel(config, network, stream, peers))
    step: Step = train_step
    if weights is not None:
        step = WeightedStep(train_step, weights, stream.epoch_labels, stream.steps_per_epoch)
    if isinstance(config.optimizer, LevenbergMarquardtConfig):
        estimate = estimate_on(train, preprocessing, augmentation, config)
        step = CurvatureStep(step, estimate, stream.steps_per_epoch)
    step = filters.clipped(step, network, config)

    average = None
    if config.ema.decay is not None:  # of the weights as a whole update leaves them
        average = WeightAverage(network, config.ema.decay)
        step = AveragingStep(step, average)
    if config.runtime.compile:
        step = compiling.explained(step)
    return Update(step, train_step.guard, weights, average)


def _train_step(
    config: TrainConfig,
    device: torch.device,
    weights: Tensor | None,
    processes: DataParallel | None,
) -> TrainStep:
    on_device = None if weights is None else weights.to(device, torch.float32)
    if isinstance(config.loss, DefaultLossConfig):
        build = LOSSES[config.loss.name].load()
        loss = build(config.loss, config.model.training_loss, on_device)
    else:
        loss = losses.sum_of(config.loss)
    return build_step(
        config.trainer,
        device=device,
        precision=config.runtime.precision,
        seed=config.seed,
        loss=loss,
        compiled=config.runtime.compile,
        processes=processes,
    )


def data_parallel(
    config: TrainConfig, network: Network, stream: Stream, peers: Peers
) -> DataParallel | None:
    """Return how the processes of a job make one update; None for one process."""
    if peers.size == 1:
        return None
    overlap_with = network if config.trainer.accumulate == 1 else None
    gradient_sum = GradientSum(peers, config.distributed.compression, overlap_with)
    return DataParallel(peers.share, gradient_sum, stream.num_images_at)
