"""`cnnlab.datasets`: the splits of an image set as torch data sets, and batches for training."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from cnnlab import data, host, notebook
from cnnlab.command import calling
from cnnlab.config import TrainConfig
from cnnlab.data.augment import Augmentation
from cnnlab.data.inputs import Inputs, Phases
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.store import Store
from cnnlab.data.stream import InOrder, Stream
from cnnlab.errors import UsageError
from cnnlab.evaluation import views
from cnnlab.evaluation.evaluate import Member, evaluate
from cnnlab.trainer.assemble import augmentation_for
from cnnlab.trainer.fast_evaluation import EVALUATION_BATCH
from cnnlab.trainer.starting_weights import preprocessing_of

TAKEN = ("augment", "augment.", "dataset.", "model", "experiment", "plugins")
"""Settings of `cnnlab train` that say what a network is fed."""


class ImageSet(Dataset[tuple[Tensor, int]]):
    """A split: images as they are stored, uint8 [C,H,W], with their labels.

    labels: int64 [N]. class_names: of the labels. Anything that takes a torch data set takes it.
    """

    def __init__(self, store: Store) -> None:
        self.labels, self.class_names = store.labels, store.class_names
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Return several at once: a DataLoader asks for a batch in one call."""
        for index in indices:
            if not -len(self) <= index < len(self):
                raise IndexError(f"image {index} of {len(self)}")
        wanted = torch.tensor(indices) % len(self)
        images = self.read(wanted)
        return list(zip(images, self.labels[wanted].tolist(), strict=True))

    def read(self, indices: Tensor) -> Tensor:
        """Return the images of int64 indices [n] in their order, uint8 [n,C,H,W]."""
        return self._store.read(indices).permute(0, 3, 1, 2)

    @property
    def images(self) -> Tensor:
        """Return all images, uint8 [N,C,H,W]; of a large set that needs as much memory."""
        return self.read(torch.arange(len(self)))

    def __repr__(self) -> str:
        return f"<ImageSet: {self._store.describe()}>"


class ImageSets:
    """The splits of an image set, and what a network is fed of them.

    train, validation, test: as they are stored; validation is None where none is held out.
    """

    def __init__(self, config: TrainConfig) -> None:
        splits = data.build(config.dataset)
        self.train, self.test = ImageSet(splits.train), ImageSet(splits.test)
        self.validation = None if splits.validation is None else ImageSet(splits.validation)
        self.name, self.class_names = splits.train.name, splits.train.class_names

        self._config, self._splits = config, splits
        self._preprocessing = preprocessing_of(config.dataset, splits.train, None)
        self._augmentation = self._augmented(config.augment)

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Return the channels of what a network is fed."""
        return self._preprocessing.channels

    @property
    def input_size_pixels(self) -> int:
        """Return the height and width of what a network is fed."""
        return self._augmentation.output_size(self._preprocessing.image_size_pixels)

    def preprocess(self, images: Tensor) -> Tensor:
        """Return uint8 images [N,c,h,w] as a network is fed them in a test: float32 [N,C,S,S]."""
        preprocessing = self._preprocessing.to(images.device)
        prepared = preprocessing.prepare(images)
        return preprocessing.normalize(self._center(prepared)[:, 0])

    def batches(
        self, batch_size: int, *, epochs: int, seed: int = 0, device: str | torch.device = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (float32 [n,C,S,S], labels [n]): shuffled, augmented and normalized.

        An epoch shows every training image once. What is drawn depends on the seed alone; the same
        seed gives `cnnlab train` the same batches.
        """
        stream = self._stream(batch_size, seed, device)
        inputs = self._inputs(seed, stream, device)
        for batch in stream.batches():
            if batch.step == epochs * stream.steps_per_epoch:
                return
            yield inputs(batch), batch.labels

    def measure(self, network: nn.Module, split: str = "validation") -> dict[str, float]:
        """Return top1_error, top5_error and cross_entropy of a network on a split, as fractions.

        network: any module from what `preprocess` returns to scores [N,K]. Its mode is restored.
        Raises UsageError for a split that there is not.
        """
        store = self._splits.stores().get(split)
        if store is None:
            there = ", ".join(self._splits.stores())
            raise UsageError(f"{self.name} has no {split} images here", hint=f"it has {there}")

        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        preprocessing = self._preprocessing.to(device)
        member = Member("network", network, preprocessing, self._center)
        batches = InOrder(
            store, batch_size=EVALUATION_BATCH, device=device, prepare=preprocessing.prepare
        )
        tally = evaluate([member], batches, num_classes=self.num_classes)
        return {
            "top1_error": tally.top1_error,
            "top5_error": tally.top5_error,
            "cross_entropy": tally.cross_entropy,
        }

    @property
    def _center(self) -> views.Views:
        return views.build("center", crop_pixels=self.input_size_pixels)

    def _augmented(self, config: Any) -> Augmentation:
        return augmentation_for(config, self._splits.train, self._preprocessing)

    def _stream(self, batch_size: int, seed: int, device: str | torch.device) -> Stream:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}, expected at least 1")
        train, residency = self._splits.train, self._config.dataset.residency
        return Stream(
            train,
            BatchSampler(len(train), batch_size=batch_size, seed=seed),
            device=device,
            residency=residency,
            prepare=self._preprocessing.prepare,
        )

    def _inputs(self, seed: int, stream: Stream, device: str | torch.device) -> Any:
        preprocessing = self._preprocessing.to(device)
        first = Inputs(self._augmentation, preprocessing, seed, stream.rows_at)
        if self._config.augment.later is None:
            return first
        epochs, config = self._config.augment.later
        return Phases(first, replace(first, augmentation=self._augmented(config)), epochs)

    def __repr__(self) -> str:
        return f"<ImageSets: {', '.join(s.describe() for s in self._splits.stores().values())}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows = [[split, f"{len(s):,} images"] for split, s in self._splits.stores().items()]
        sides = f"{self.channels} x {self.input_size_pixels} x {self.input_size_pixels}"
        rows += [["classes", str(self.num_classes)], ["a network is fed", sides]]
        return notebook.table(self.name, rows)


def datasets(name: str, *words: str, **settings: Any) -> ImageSets:
    """Read an image set by its name, as `cnnlab train dataset=NAME` does.

    settings: of the set, as the command takes them below `dataset.`: root="DIR", train_subset=500.
    words: what else decides what a network is fed: 'augment=affine', 'model=alexnet', whose usual
    size the images then get. Raises DataError where the set is missing or damaged.
    """
    calling.refuse_others(words, {}, TAKEN)
    own = {f"dataset.{key}": value for key, value in settings.items()}
    config = calling.checked("train", words, {"dataset": name, **own})
    with host.plain_torch():
        return ImageSets(config)
