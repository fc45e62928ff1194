"""The throughput of each part of a training on this machine, and the most that it could be.

The upper bounds are those of a roofline: what moves bytes is compared with copying memory, what
computes with multiplying large matrices.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cnnlab.data.stream import Batch
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.models import Network
from cnnlab.models.summary import summarize
from cnnlab.trainer.assemble import Assembly
from cnnlab.training.hooks import Every, RunningLoss
from cnnlab.training.loop import Hook, TrainState, fit

WARM_UP_ROUNDS = 3
ROUNDS_OF_MEDIAN = 11
COPY_BYTES = {"cpu": 2**26, "cuda": 2**31, "mps": 2**30}  # a GPU's cache holds 64 MiB
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192, "mps": 4096}

Action = Callable[[], object]


@dataclass(frozen=True)
class Throughput:
    """How fast one part of a training is, and its limit.

    limit: what the part is compared with, in words.
    """

    name: str
    images_per_second: float
    milliseconds_per_batch: float
    limit: str
    limit_images_per_second: float

    @property
    def share_of_limit(self) -> float:
        """Return the fraction of the limit that is reached, 0..1."""
        return self.images_per_second / self.limit_images_per_second


class Stopwatch:
    """Measures seconds of work on a device, which may return before the work is done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mean(self, action: Action, at_least_seconds: float) -> float:
        """Return the mean seconds of one `action`, repeated for so long after a warm-up."""
        for _ in range(WARM_UP_ROUNDS):
            action()
        self._synchronize()

        num_rounds, started = 0, time.perf_counter()
        while num_rounds < 2 or time.perf_counter() - started < at_least_seconds:
            action()
            num_rounds += 1
            if num_rounds % 16 == 0:
                self._synchronize()  # else the clock would only see how fast kernels are launched
        self._synchronize()
        return (time.perf_counter() - started) / num_rounds

    def median(self, action: Action, repeats: int = ROUNDS_OF_MEDIAN) -> float:
        """Return the median seconds of one `action` on the device, after a warm-up."""
        action()
        self._synchronize()
        on_gpu = self._device.type == "cuda"
        return statistics.median((self._by_events if on_gpu else self._by_clock)(action, repeats))

    def _by_events(self, action: Action, repeats: int) -> list[float]:
        """Return the seconds of each `action` between marks that the GPU itself timed."""
        stream = torch.cuda.current_stream(self._device)
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]

        marks[0].record(stream)
        for mark in marks[1:]:
            action()
            mark.record(stream)

        self._synchronize()
        return [1e-3 * start.elapsed_time(end) for start, end in itertools.pairwise(marks)]

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)

    def _by_clock(self, action: Action, repeats: int) -> list[float]:
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            action()
            self._synchronize()
            times.append(time.perf_counter() - started)
        return times


@dataclass(frozen=True)
class Roofline:
    """What a device does at most per second.

    copy_bytes_per_second: bytes read plus bytes written. flop_per_second: of a matrix product.
    """

    copy_bytes_per_second: float
    flop_per_second: float

    @classmethod
    def measured(cls, device: torch.device, precision: str) -> Self:
        """Copy a large tensor, and multiply large matrices in the compute precision."""
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        roofline = cls(_copy_rate(device), _matrix_rate(device, dtype))

        if device.type == "cuda":  # the peak that is shown is that of the training
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        return roofline


def _copy_rate(device: torch.device) -> float:
    source = random_words(device, copy_bytes(device))
    target = torch.empty_like(source)
    seconds = Stopwatch(device).median(lambda: target.copy_(source))
    return 2 * source.nbytes / seconds


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    side = MATRIX_SIDE[device.type]
    a, b = random_matrices(device, side, dtype)
    return 2 * side**3 / Stopwatch(device).median(lambda: a @ b)


def copy_bytes(device: torch.device) -> int:
    """Return how many bytes are copied: COPY_BYTES, at most a quarter of a GPU's free memory."""
    if device.type != "cuda":
        return COPY_BYTES[device.type]
    free, _ = torch.cuda.mem_get_info(device)
    return min(COPY_BYTES["cuda"], free // 4)


def random_words(device: torch.device, num_bytes: int) -> Tensor:
    """Return random int64 numbers of `num_bytes` in all; zeros may all be one page of memory."""
    words = torch.empty(num_bytes // 8, dtype=torch.int64, device=device)
    return words.random_(generator=_generator(device))


def random_matrices(device: torch.device, side: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return two normal matrices; equal numbers cost a GPU less power, so it would clock higher."""
    generator = _generator(device)
    a, b = (
        torch.randn(side, side, dtype=dtype, device=device, generator=generator) for _ in range(2)
    )
    return a, b


def _generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)


class Bench:
    """An assembled training whose parts can be timed one by one.

    seconds: for how long each part is repeated.
    """

    def __init__(self, assembly: Assembly, seconds: float) -> None:
        self.assembly, self.device = assembly, assembly.device
        self.roofline = Roofline.measured(assembly.device, assembly.config.runtime.precision)
        self._stopwatch, self._seconds = Stopwatch(assembly.device), seconds
        self._state = TrainState(assembly.trained, assembly.optimizer)
        self._model_name = assembly.config.model.name
        self._inputs = assembly.inputs()
        self._batch_size = assembly.stream.num_images_at(0)  # all images, where they are fewer

    def parts(self) -> list[Throughput]:
        """Time reading, augmentation, the training step, all three in the loop, and evaluation."""
        return [
            self._loader(),
            self._augmentation(),
            self._step(),
            self._loop(),
            self._evaluation(),
        ]

    def _loader(self) -> Throughput:
        batches = self._whole_batches()
        images = next(batches).images
        return self._copying("loader", lambda: next(batches), len(images), 2 * images.nbytes)

    def _augmentation(self) -> Throughput:
        batch, inputs = next(self._whole_batches()), self._inputs
        stream = self.assembly.stream
        whole = (k for k in itertools.count() if stream.num_images_at(k) == self._batch_size)

        def augment() -> Tensor:  # of another step each time, as the parameters of one are kept
            return inputs(batch._replace(step=next(whole)))

        num_bytes = batch.images.nbytes + augment().nbytes
        return self._copying("augmentation", augment, len(batch.images), num_bytes)

    def _step(self) -> Throughput:
        images, labels = next(self._ready_batches())
        self._state.model.train()

        def step() -> None:
            self.assembly.step(self._state, images, labels)

        flop = training_flop(self.assembly.network, self._model_name)
        return self._computing("step", step, len(images), flop)

    def _loop(self) -> Throughput:
        parts, state, batches = self.assembly, self._state, self._ready_batches()
        hooks: list[Hook] = [
            RunningLoss(self.device),
            Every(10, lambda state, _: parts.guard.check(state)),
        ]

        def one_update() -> None:
            fit(state, batches, parts.step, parts.schedule.rate_at, hooks, state.step + 1)

        flop = training_flop(parts.network, self._model_name)
        return self._computing("whole loop", one_update, self._batch_size, flop)

    def _whole_batches(self) -> Iterator[Batch]:
        """Yield the batches of training without the short last one of an epoch.

        It would count as a whole one, and a compiled step would compile for it while timed.
        """
        batches = self.assembly.stream.batches()
        return (batch for batch in batches if len(batch.labels) == self._batch_size)

    def _ready_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the whole batches as the network takes them, with their labels."""
        return ((self._inputs(batch), batch.labels) for batch in self._whole_batches())

    def _evaluation(self) -> Throughput:
        parts = self.assembly
        store = parts.splits.test
        images, labels, *_ = next(iter(parts.in_order(store)))
        member = parts.member(parts.config.evaluation.name)
        num_views = member.views(images[:1]).shape[1]

        def score() -> None:
            evaluate([member], [(images, labels)], num_classes=len(store.class_names))

        flop = 2 * num_views * multiply_adds(parts.network, self._model_name)[0]
        return self._computing("evaluation", score, len(images), flop)

    def _copying(self, name: str, action: Action, num_images: int, num_bytes: int) -> Throughput:
        limit = self.roofline.copy_bytes_per_second * num_images / num_bytes
        return self._timed(name, action, num_images, "copying its bytes", limit)

    def _computing(
        self, name: str, action: Action, num_images: int, flop_per_image: float
    ) -> Throughput:
        limit = self.roofline.flop_per_second / flop_per_image
        return self._timed(name, action, num_images, "its matrix products", limit)

    def _timed(
        self, name: str, action: Action, num_images: int, limited_by: str, limit: float
    ) -> Throughput:
        seconds = self._stopwatch.mean(action, self._seconds)
        return Throughput(name, num_images / seconds, 1e3 * seconds, limited_by, limit)


def multiply_adds(network: Network, model_name: str) -> tuple[int, int]:
    """Return the multiply-adds of one image's forward pass, and those of the first layer alone."""
    rows = summarize(network, model_name).rows
    counts = [row.num_multiply_adds for row in rows if row.num_multiply_adds]
    return sum(counts), counts[0]


def training_flop(network: Network, model_name: str) -> float:
    """Return the FLOP of one image forward and backward.

    Backward costs two forward passes: gradients of weights and of inputs. The first layer needs
    no gradient of its input.
    """
    total, first = multiply_adds(network, model_name)
    return 2.0 * (3 * total - first)


def bottleneck(parts: list[Throughput]) -> str:
    """Return the name of the slowest of loader, augmentation and step."""
    return max(parts[:3], key=lambda part: part.milliseconds_per_batch).name
