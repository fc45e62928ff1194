"""`runtime.capture`: a training step as CUDA graphs, which replay all its kernels at once.

A graph repeats the same kernels on the same memory, with the numbers that were constants when it
was captured. So a batch is copied to where the graph reads it, what a step reports is copied from
where the next one overwrites it, and dropout is seeded before each replay, since the graph reads
the generator's seed. The rates are constants of the update, which is a graph of its own and
captured once they stay as they are: a schedule that changes them at every step updates as without
capture.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnnlab.errors import ResourceError
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.steps import TrainStep

Compute = Callable[..., Sequence[Tensor]]
"""Tensors -> tensors, by operations on one device alone."""

Capture = Callable[[Callable[[], Sequence[Tensor]]], tuple[Sequence[Tensor], Callable[[], None]]]
"""Captures what a function computes, without computing it: its results, and what fills them."""

NUM_EAGER = 3
"""Calls of a computation before it is captured: libraries choose their kernels in them."""

MOST_GRAPHS = 2
"""Of one computation, each with memory of its own: a whole batch, and the last of an epoch."""


def cuda_graphs(device: torch.device) -> Capture:
    """Return what captures computations on `device`, all of them in memory that they share.

    They may, as no two run at the same time and each keeps what it returned. Raises ResourceError
    where CUDA cannot capture an operation.
    """
    pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)

    def capture(
        compute: Callable[[], Sequence[Tensor]],
    ) -> tuple[Sequence[Tensor], Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        # only this thread is restricted: those that read images pin memory meanwhile
        capturing = torch.cuda.graph(
            graph, pool=pool, stream=stream, capture_error_mode="thread_local"
        )
        try:
            # on the stream twice, as torch 2.10 may not come back from a capture that failed
            with _ordinary_tensors(), torch.cuda.stream(stream), capturing:
                torch.clear_autocast_cache()  # a graph must not read weights that were cast before
                results = compute()
                torch.clear_autocast_cache()
        except RuntimeError as error:
            raise ResourceError(
                "a step of this training cannot be captured as a CUDA graph",
                str(error).strip().splitlines()[0][:200],
                "runtime.capture=false trains it",
            ) from error
        return results, graph.replay

    return capture


@contextlib.contextmanager
def _ordinary_tensors() -> Iterator[None]:
    """Leave the inference mode of an evaluation, still without gradients.

    The first capture makes the tensors of the generator's seed, which later replays outside of that
    mode could not fill.
    """
    records_gradients = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(records_gradients):
        yield


class _Graph(NamedTuple):
    """inputs, results: where the graph reads and writes."""

    inputs: Sequence[Tensor]
    results: Sequence[Tensor]
    replay: Callable[[], None]


class Captured:
    """A computation that is captured for the first layouts of its inputs that come several times.

    Inputs of any other shape, type or memory format are computed as without capture.
    """

    def __init__(self, compute: Compute, capture: Capture) -> None:
        self._compute, self._capture = compute, capture
        self._num_calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, _Graph] = {}

    def prepare(self, *inputs: Tensor, key: Hashable = None) -> bool:
        """Capture a graph for these inputs if it is time; return whether there is one.

        key: everything else that the computation depends on and that a graph does not read.
        """
        whole_key = (key, *map(_layout, inputs))
        if whole_key in self._graphs:
            return True
        if len(self._graphs) >= MOST_GRAPHS:
            return False

        num_calls = self._num_calls.get(whole_key, 0)
        self._num_calls[whole_key] = num_calls + 1
        if num_calls < NUM_EAGER:
            return False
        own = [tensor.clone() for tensor in inputs]
        self._graphs[whole_key] = _Graph(own, *self._capture(lambda: self._compute(*own)))
        return True

    def run(self, *inputs: Tensor, key: Hashable = None) -> Sequence[Tensor]:
        """Compute; the next call may overwrite the results."""
        graph = self._graphs.get((key, *map(_layout, inputs)))
        if graph is None:
            return self._compute(*inputs)
        for own, given in zip(graph.inputs, inputs, strict=True):
            own.copy_(given)
        graph.replay()
        return graph.results

    def forget(self) -> None:
        """Drop all graphs and what was counted."""
        self._num_calls.clear()
        self._graphs.clear()


class CapturedStep:
    """Make the updates of `step`, a whole batch at once, by graphs where they are captured.

    One graph has forward and backward pass, norm, clipping and guard, for each layout of a batch;
    another the update, for rules that can be captured. Between them is the host's part.
    """

    def __init__(self, step: TrainStep, capture: Capture) -> None:
        assert step.num_parts == 1, "each part would want a seed of its own within the graph"
        self._seed_dropout, self._guard = step.seed_dropout, step.guard
        self._step = dataclasses.replace(step, seed_dropout=lambda pass_number: None)
        self._gradients = Captured(self._compute_gradients, capture)
        self._update = Captured(self._compute_update, capture)
        self._rates: tuple[float, ...] = ()
        self._state: TrainState | None = None
        self._with_gradient: list[nn.Parameter] = []

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state`, as `TrainStep` does."""
        self._state = state
        is_captured = self._gradients.prepare(images, labels)
        self._seed_dropout(state.step)  # after a capture, which draws as well
        loss, norm, *gradients = self._gradients.run(images, labels)
        for parameter, gradient in zip(self._with_gradient, gradients, strict=True):
            parameter.grad = gradient

        loss, norm = loss.clone(), norm.clone()
        self._guard.note(loss, norm, state.optimizer)
        self._make_update(state, (images.shape, images.stride()) if is_captured else None)
        return StepReport(loss, norm, len(labels))

    def _compute_gradients(self, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
        assert self._state is not None
        loss, norm = self._step.gradients(self._state, images, labels, len(labels))
        groups = self._state.optimizer.param_groups
        trained = [p for group in groups for p in group["params"]]
        self._with_gradient = [p for p in trained if p.grad is not None]
        return [loss, norm, *(p.grad for p in trained if p.grad is not None)]

    def _make_update(self, state: TrainState, batch: Hashable) -> None:
        """Update the weights; batch: the graph that computed their gradients, None without one."""
        rates = tuple(group["lr"] for group in state.optimizer.param_groups)
        if rates != self._rates:
            self._update.forget()
            self._rates = rates

        if batch is None or not getattr(state.optimizer, "can_be_captured", False):
            state.optimizer.step()
            return
        self._update.prepare(key=batch)
        self._update.run(key=batch)

    def _compute_update(self) -> Sequence[Tensor]:
        assert self._state is not None
        self._state.optimizer.step()
        return ()


def _layout(tensor: Tensor) -> Hashable:
    return tensor.shape, tensor.stride(), tensor.dtype
