"""The update of a run: the training step, and what surrounds it by the settings."""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from cnnlab import compiling
from cnnlab.config import TrainConfig
from cnnlab.config.loss import LOSSES, DefaultLossConfig
from cnnlab.config.training import LevenbergMarquardtConfig
from cnnlab.data.augment import Augmentation
from cnnlab.data.store import Store
from cnnlab.data.stream import Stream
from cnnlab.distributed import SCHEMES, DataParallel, Peers
from cnnlab.distributed.hybrid import split_layers
from cnnlab.models import Network
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import dropout_seeder
from cnnlab.trainer import filters
from cnnlab.trainer.capturing import Capturing, choose
from cnnlab.trainer.curvature import estimate_on
from cnnlab.training import build_step, losses
from cnnlab.training.captured import CapturedStep
from cnnlab.training.class_weights import WeightedStep, class_weights
from cnnlab.training.levenberg_marquardt import CurvatureStep
from cnnlab.training.loop import Step
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import SharedUpdate, TrainStep, gradient_norm
from cnnlab.training.weight_average import AveragingStep, WeightAverage
from cnnlab.training.workers import AssembledStep, WorkersInTurn


@dataclass(frozen=True)
class Update:
    """How a run updates its network.

    trained: the network whose parameters the optimizer has, which is the run's own unless several
    processes split it; both share their storage. scheme: how processes share an update.
    class_weights: float64 [K] on the CPU; None: all are 1. average: of the weights; None: none is
    kept. capturing: of the step as CUDA graphs.
    """

    step: Step
    guard: NonFiniteGuard
    trained: Network
    scheme: DataParallel
    class_weights: Tensor | None = None
    average: WeightAverage[Network] | None = None
    capturing: Capturing = field(default_factory=Capturing)

    def gather(self, network: Network) -> None:
        """Fill in what other processes train of `network` and of its average; all call it.

        Until then both hold what this process trains, and the rest as it was.
        """
        for each in (network, *([self.average.network] if self.average else [])):
            self.scheme.gather(each)


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
    scheme = _scheme(config, network, peers)
    trained = scheme.view(network)
    shared = _shared(scheme, stream) if peers.size > 1 else None

    train_step = _train_step(config, device, weights, shared)
    step: Step = train_step
    capturing = choose(config, network, peers)
    if capturing.make is not None:
        step = CapturedStep(train_step, capturing.make())
    if weights is not None:
        step = WeightedStep(train_step, weights, stream.epoch_labels, stream.steps_per_epoch)
    step = _for_workers(step, train_step, config, trained, scheme, device)
    if isinstance(config.optimizer, LevenbergMarquardtConfig):
        estimate = estimate_on(train, preprocessing, augmentation, config)
        step = CurvatureStep(step, estimate, stream.steps_per_epoch)
    step = filters.clipped(step, network, config)

    average = None
    if config.ema.decay is not None:  # of the weights as a whole update leaves them
        average = WeightAverage(network, config.ema.decay, scheme.view)
        step = AveragingStep(step, average)
    if config.runtime.compile:
        step = compiling.explained(step)
    return Update(step, train_step.guard, trained, scheme, weights, average, capturing)


def _train_step(
    config: TrainConfig,
    device: torch.device,
    weights: Tensor | None,
    processes: SharedUpdate | None,
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


def _scheme(config: TrainConfig, network: Network, peers: Peers) -> DataParallel:
    """Return how the processes share an update; for one process it is always the same."""
    if peers.size == 1:
        return DataParallel(network, overlaps=False)
    overlaps = config.trainer.accumulate == 1
    scheme = SCHEMES[config.distributed.scheme]
    return scheme(network, peers, config.distributed.compression, overlaps)


def _shared(scheme: DataParallel, stream: Stream) -> SharedUpdate:
    norm = partial(scheme.norm, norm_here=gradient_norm)
    return SharedUpdate(scheme.masks, scheme.sum_gradients, stream.num_images_at, norm)


def _for_workers(
    step: Step,
    train_step: TrainStep,
    config: TrainConfig,
    trained: Network,
    scheme: DataParallel,
    device: torch.device,
) -> Step:
    """Return `step` as the workers of `distributed` make it, several processes or simulated ones.

    Raises UsageError for a network that does not fit the scheme.
    """
    asked = config.distributed
    workers, fc_batch = asked.simulate or 1, asked.fc_batch
    if fc_batch == config.trainer.batch_size:
        fc_batch = None  # one update for all: the plain one

    if not SCHEMES[asked.scheme].assembles:
        if workers == 1:
            return step
        masks = [dropout_seeder(config.seed, device, rank, workers) for rank in range(workers)]
        return WorkersInTurn(step, train_step, masks)

    if not scheme.assembles:  # one process
        if asked.simulate is None and asked.fc_batch is None:
            return step
        split_layers(trained)  # refuses what several processes would refuse
    return AssembledStep(
        step,
        train_step,
        trained,
        assemble=scheme.assemble,
        num_workers=workers,
        fc_batch=fc_batch,
    )
