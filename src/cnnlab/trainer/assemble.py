"""Build a training run from its config: data, preprocessing, augmentation, network, update rule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.optim import Optimizer

from cnnlab import compiling, data, models
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import TrainConfig
from cnnlab.config.augment import AugmentConfig
from cnnlab.config.ema import RAW
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.cpu.thread_count import Threads
from cnnlab.data.augment import Augmentation, build_augment
from cnnlab.data.inputs import Inputs, Phases
from cnnlab.data.stats import statistics_for
from cnnlab.data.store import Splits, Store
from cnnlab.data.stream import Batch, InOrder, Stream
from cnnlab.distributed import ALONE, Peers
from cnnlab.evaluation.evaluate import Member, Observer, evaluate
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.sharing import gather_tally
from cnnlab.inference.members import EvaluableNetwork
from cnnlab.models import Network, kernels, transfer
from cnnlab.preprocessing import Preprocessing
from cnnlab.trainer import reading, starting_weights, thread_use
from cnnlab.trainer.fast_evaluation import Evaluating, evaluating
from cnnlab.trainer.starting_weights import StartingWeights
from cnnlab.trainer.update import Update, build_update
from cnnlab.training import optimizers, schedules
from cnnlab.training.loop import Step
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.parameter_groups import parameter_groups
from cnnlab.training.schedules import Schedule
from cnnlab.training.weight_average import WeightAverage


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
    update: Update
    total_steps: int
    threads: Threads
    evaluating: Evaluating
    peers: Peers = ALONE
    later_augmentation: tuple[int, Augmentation] | None = None
    """Epochs after which the augmentation is another one, and that; None: it stays."""
    starting_weights: tuple[str, ...] = ()
    """Lines that say which weights training started from; none: from scratch."""
    kernels: str | None = None
    """What computes response normalization and max pooling, where there was something to choose."""

    @property
    def step(self) -> Step:
        """The function that makes one update."""
        return self.update.step

    @property
    def trained(self) -> Network:
        """The network whose parameters the optimizer has; it shares its storage with `network`."""
        return self.update.trained

    def gather_weights(self) -> None:
        """Bring the network, and its average, up to date with what other processes trained."""
        self.update.gather(self.network)

    @property
    def guard(self) -> NonFiniteGuard:
        """What notices a loss or gradient that is not finite."""
        return self.update.guard

    def batches(self, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images ready for the network, labels) of step start_step, start_step + 1, ..."""
        inputs = self.inputs()
        for batch in self.stream.batches(start_step):
            yield inputs(batch), batch.labels

    def inputs(self) -> Callable[[Batch], Tensor]:
        """Return what makes the network's input of a batch, also where augmentation changes."""
        seed, rows_at = self.config.seed, self.stream.rows_at
        first = Inputs(self.augmentation, self.preprocessing, seed, rows_at)
        if self.later_augmentation is None:
            return first

        epochs, augmentation = self.later_augmentation
        return Phases(first, replace(first, augmentation=augmentation), epochs)

    @property
    def average(self) -> WeightAverage[Network] | None:
        """The moving average of the weights; None: none is kept."""
        return self.update.average

    def network_with(self, which_weights: str) -> Network:
        """Return the network in training: with its own weights (raw), or with their average."""
        if which_weights == RAW:
            return self.network
        assert self.average is not None, "which_weights=ema comes with ema.decay"
        return self.average.network

    @property
    def judged(self) -> Network:
        """The network that is validated and tested."""
        return self.network_with(self.config.which_weights)

    def member(self, views_name: str, which_weights: str | None = None) -> Member:
        """Return the network as something `evaluate` takes; with other weights than the judged."""
        evaluation = self.config.evaluation
        if views_name != evaluation.name:
            evaluation = EvaluationConfig(name=views_name)
        evaluable = self.evaluable
        if which_weights is not None:
            evaluable = replace(evaluable, network=self.network_with(which_weights))
        return self.evaluating.member(evaluable.member(self.config.model.name, evaluation))

    @cached_property
    def evaluable(self) -> EvaluableNetwork:
        """The network that is judged, with what decides its test views."""
        train = self.splits.train
        return EvaluableNetwork(
            self.judged,
            self.preprocessing,
            vars(self.config.augment),
            train.mirror_allowed,
            train.name,
        )

    def in_order(self, store: Store) -> InOrder:
        """Return the batches of `store` for evaluation, this process's share of them."""
        return InOrder(
            store,
            batch_size=self.evaluating.batch_size,
            device=self.device,
            prepare=self.preprocessing.prepare,
            share=self.peers.share,
        )

    def evaluate(
        self,
        batches: InOrder,
        views_name: str,
        should_stop: Callable[[], object] | None = None,
        observers: Sequence[Observer] = (),
        which_weights: str | None = None,
    ) -> Tally:
        """Count the errors of the network as it is now; every process gets the whole count.

        which_weights: None: those that are judged. Raises EvaluationStopped in all of them when
        one was asked to stop.
        """
        return gather_tally(
            self.peers,
            len(batches),
            lambda: evaluate(
                [self.member(views_name, which_weights)],
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
    *,
    checkpoint: Checkpoint | None = None,
    weights: StartingWeights | None = None,
) -> Assembly:
    """Build everything that `config` describes, on `device`; nothing is written anywhere.

    checkpoint: what the run starts or continues from; only its preprocessing is used. weights: what
    the network is given before its first update. Raises DataError where the set is missing,
    UsageError where settings do not fit each other, CheckpointError where the weights do not.
    """
    _check_layers(config)
    splits = data.build(config.dataset)
    train = splits.train
    preprocessing = starting_weights.preprocessing_of(config.dataset, train, checkpoint)
    augmentation = augmentation_for(config.augment, train, preprocessing)
    later = config.augment.later

    network, chosen = _network(config, preprocessing, augmentation, len(train.class_names), device)
    threads = thread_use.choose(config, network, len(train), peers, device)
    loaded: tuple[str, ...] = ()
    if weights is not None:
        loaded = starting_weights.load_into(network, weights, train.class_names, config.fine_tuning)

    # a network over several devices takes its batches on the first of them
    device = models.home_device(network, device)
    stream = reading.stream_of(config, train, preprocessing, device, peers.share)
    total_steps = config.trainer.epochs * stream.steps_per_epoch
    preprocessing = preprocessing.to(device)

    update = build_update(config, network, stream, peers, train, preprocessing, augmentation)
    return Assembly(
        config=config,
        device=device,
        splits=splits,
        preprocessing=preprocessing,
        augmentation=augmentation,
        network=network,
        stream=stream,
        optimizer=optimizers.build(
            config.optimizer,
            update.trained,
            stream.steps_per_epoch,
            in_one_pass=config.runtime.fused_update,
        ),
        schedule=schedules.build(config.schedule, stream.steps_per_epoch, total_steps),
        update=update,
        total_steps=total_steps,
        threads=threads,
        evaluating=evaluating(config, network, preprocessing, update.capturing.make),
        peers=peers,
        later_augmentation=later and (later[0], augmentation_for(later[1], train, preprocessing)),
        starting_weights=loaded,
        kernels=chosen.line,
    )


def _check_layers(config: TrainConfig) -> None:
    """Raise UsageError for layers that the network lacks, before an image is read."""
    if config.optimizer.groups or config.fine_tuning.train_layers != "all":
        network = transfer.of_usual_size(config.model)
        transfer.freeze(network, config.fine_tuning.train_layers)
        parameter_groups(config.optimizer, network)


def augmentation_for(
    config: AugmentConfig, train: Store, preprocessing: Preprocessing
) -> Augmentation:
    """Return the augmentation of a training set, with its statistics where it needs them."""
    return build_augment(
        config,
        mirror_allowed=train.mirror_allowed,
        statistics=lambda: statistics_for(train, preprocessing),
    )


def _network(
    config: TrainConfig,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    num_classes: int,
    device: torch.device,
) -> tuple[Network, kernels.Chosen]:
    """Return the network for images as the augmentation returns them, on its device, layers frozen.

    Also what computes some of its layers, as far as that was to choose.

    Raises UsageError for layers that do not exist, and for a network that cannot be compiled.
    """
    network = models.build(
        config.model,
        in_channels=preprocessing.channels,
        input_size_pixels=augmentation.output_size(preprocessing.image_size_pixels),
        num_classes=num_classes,
        seed=config.seed,
    )
    if config.runtime.channels_last:
        network.to(memory_format=torch.channels_last)
    network.to(device)
    chosen = kernels.use(network, config.runtime.kernels, config.runtime.compile)

    transfer.freeze(network, config.fine_tuning.train_layers)
    if config.runtime.compile:
        compiling.check(network)
    return network, chosen
