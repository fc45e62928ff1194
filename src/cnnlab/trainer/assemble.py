"""Put the rooms together for training: data, preprocessing, augmentation, network, update rule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.optim import Optimizer

from cnnlab import compiling, data, models
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import TrainConfig
from cnnlab.config.training import LevenbergMarquardtConfig
from cnnlab.data.augment import Augmentation, build_augment
from cnnlab.data.inputs import Inputs
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.stats import statistics_for
from cnnlab.data.store import Splits, Store
from cnnlab.data.stream import InOrder, Stream
from cnnlab.distributed import ALONE, GradientSum, Peers, Share
from cnnlab.evaluation import views
from cnnlab.evaluation.evaluate import Member, Observer, evaluate
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.sharing import judged
from cnnlab.inference.members import crops_at_once
from cnnlab.models import Network
from cnnlab.preprocessing import Preprocessing
from cnnlab.trainer import starting_weights
from cnnlab.trainer.curvature import estimate_on, loss_of
from cnnlab.training import Together, build_step, optimizers, schedules
from cnnlab.training.latch import Latch
from cnnlab.training.levenberg_marquardt import with_curvature
from cnnlab.training.loop import Step
from cnnlab.training.schedules import Schedule

EVALUATION_BATCH = 256


@dataclass
class Assembly:
    """What a training run is made of; everything is on `device`."""

    config: TrainConfig
    device: torch.device
    splits: Splits
    preprocessing: Preprocessing
    augmentation: Augmentation
    network: Network
    stream: Stream
    optimizer: Optimizer
    schedule: Schedule
    step: Step
    latch: Latch
    total_steps: int
    peers: Peers = ALONE
    beginning: tuple[str, ...] = ()
    """Lines that say which weights the training begins with."""

    def batches(self, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images ready for the network, labels) of step start_step, start_step + 1, ..."""
        inputs = Inputs(self.augmentation, self.preprocessing, self.config.seed)
        for batch in self.stream.batches(start_step):
            yield inputs(batch), batch.labels

    def member(self, views_name: str) -> Member:
        """Return the network in training as something `evaluate` takes."""
        border: int | None = getattr(self.config.evaluation, "padding_pixels", None)
        if border is None:  # small images: the views of testing stay in the border of training
            border = int(getattr(self.config.augment, "padding_pixels", 0))
        cut = views.build(
            views_name,
            crop_pixels=self.network.input_size_pixels,
            image_pixels=self.preprocessing.image_size_pixels,
            padding_pixels=border if views_name != "center" else 0,
            mirror_allowed=self.splits.train.mirror_allowed,
            dataset=self.splits.train.name,
        )
        name, at_once = self.config.model.name, self._crops_at_once
        return Member(name, self.network, self.preprocessing, cut, crops_at_once=at_once)

    @cached_property
    def _crops_at_once(self) -> int | None:
        return crops_at_once(self.network, self.device)

    def in_order(self, store: Store) -> InOrder:
        """Return the batches of `store` for evaluation, prepared for the network: a share of it
        where several processes judge it together."""
        return InOrder(
            store,
            batch_size=EVALUATION_BATCH,
            device=self.device,
            prepare=self.preprocessing.prepare,
            share=self.peers.share,
        )

    def judge(
        self,
        batches: InOrder,
        views_name: str,
        should_stop: Callable[[], object] | None = None,
        observers: Sequence[Observer] = (),
    ) -> Tally:
        """Count the errors of the network as it is now; every process gets the whole count.

        Raises EvaluationStopped in all of them when one was asked to stop.
        """
        return judged(
            self.peers,
            len(batches),
            lambda: evaluate(
                [self.member(views_name)],
                batches,
                num_classes=len(self.splits.train.class_names),
                observers=observers,
                should_stop=should_stop,
            ),
        )


def assemble(
    config: TrainConfig,
    device: torch.device,
    peers: Peers = ALONE,
    held: Checkpoint | None = None,
) -> Assembly:
    """Build everything that `config` describes, on `device`; nothing is written anywhere.

    held: the checkpoint that the run goes on from or begins with; only its preprocessing is used.
    Raises DataError where the set is missing, UsageError where settings do not fit each other.
    """
    splits = data.build(config.dataset)
    train = splits.train
    preprocessing = starting_weights.preprocessing_of(config.dataset, train, held)
    augmentation = build_augment(
        config.augment,
        mirror_allowed=train.mirror_allowed,
        statistics=lambda: statistics_for(train, preprocessing),
    )
    network = _network(config, preprocessing, augmentation, len(train.class_names)).to(device)
    starting_weights.freeze(network, config.fine_tuning.train_layers)
    if config.runtime.compile:
        compiling.check(network)
    device = models.home_device(network, device)
    stream = _stream(config, train, preprocessing, device, peers.share)
    total_steps = config.trainer.epochs * stream.steps_per_epoch
    preprocessing = preprocessing.to(device)
    step, latch = build_step(
        config.trainer,
        device=device,
        precision=config.runtime.precision,
        seed=config.seed,
        loss=loss_of(config.model),
        together=share_updates(config, network, stream, peers),
        compiled=config.runtime.compile,
    )
    if isinstance(config.optimizer, LevenbergMarquardtConfig):
        estimate = estimate_on(train, preprocessing, augmentation, config)
        step = with_curvature(step, estimate, stream.steps_per_epoch)
    return Assembly(
        config=config,
        device=device,
        splits=splits,
        preprocessing=preprocessing,
        augmentation=augmentation,
        network=network,
        stream=stream,
        optimizer=optimizers.build(config.optimizer, network),
        schedule=schedules.build(config.schedule, stream.steps_per_epoch, total_steps),
        step=step,
        latch=latch,
        total_steps=total_steps,
        peers=peers,
    )


def _stream(
    config: TrainConfig,
    train: Store,
    preprocessing: Preprocessing,
    device: torch.device,
    share: Share,
) -> Stream:
    """Return the endless batches of the training images."""
    sampler = BatchSampler(
        len(train),
        batch_size=config.trainer.batch_size,
        seed=config.seed,
        limit_batches=config.trainer.limit_train_batches,
        overfit_one_batch=config.trainer.overfit_one_batch,
    )
    return Stream(
        train,
        sampler,
        device=device,
        residency=config.dataset.residency,
        prepare=preprocessing.prepare,
        share=share,
    )


def _network(
    config: TrainConfig, preprocessing: Preprocessing, augmentation: Augmentation, num_classes: int
) -> Network:
    """Return the network for images as augmentation hands them over, in its memory layout."""
    network = models.build(
        config.model,
        in_channels=preprocessing.channels,
        input_size_pixels=augmentation.output_size(preprocessing.image_size_pixels),
        num_classes=num_classes,
        seed=config.seed,
    )
    if config.runtime.channels_last:
        network.to(memory_format=torch.channels_last)
    return network


def share_updates(config: TrainConfig, network: Network, stream: Stream, peers: Peers) -> Together:
    """Say how the processes of a job make one update; alone, nothing is shared."""
    if peers.size == 1:
        return Together()
    combine = GradientSum(peers, config.distributed.compression)
    if config.trainer.accumulate == 1:
        combine.attach(network)
    return Together(peers.share, combine, lambda step, labels: stream.num_images_at(step))
