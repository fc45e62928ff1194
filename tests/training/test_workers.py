"""Workers that one process simulates, and fully connected layers that are updated more often."""

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab import models
from cnnlab.config import choices
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.config.training import OptimizerConfig
from cnnlab.errors import NumericsError, UsageError
from cnnlab.runtime import dropout_seeder, make_generator
from cnnlab.training import losses, optimizers
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import TrainStep
from cnnlab.training.workers import AssembledStep, WorkersInTurn

CPU, SEED, RATE = torch.device("cpu"), 3, 0.05


def lenet(dropout: float = 0.5) -> models.Network:
    config = parse(ModelConfig, {**choices.alone("model", "lenet5"), "dropout": dropout})
    return models.build(config, in_channels=1, input_size_pixels=32, num_classes=10, seed=SEED)


def state_of(network: models.Network, name: str = "sgd", momentum: float = 0.9) -> TrainState:
    changes: dict[str, Any] = {"learning_rate": RATE, "weight_decay": 0.0}
    if name == "sgd":
        changes["momentum"] = momentum
    config = parse(OptimizerConfig, {**choices.alone("optimizer", name), **changes})
    return TrainState(network.train(), optimizers.build(config, network))


def step_of(clip: float | None = None, precision: Any = nullcontext) -> TrainStep:
    compute_loss = losses.of_network(losses.cross_entropy)
    guard, seed_masks = NonFiniteGuard(CPU), dropout_seeder(SEED, CPU)
    return TrainStep(compute_loss, guard, seed_masks, precision, clip_gradient_norm=clip)


def batch(size: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = make_generator(SEED, "workers")
    images = torch.rand(size, 1, 32, 32, generator=generator)
    return images.to(dtype), torch.arange(size) % 10


def updated(state: TrainState, step: Any, size: int = 11, num_steps: int = 2) -> StepReport:
    dtype = next(state.model.parameters()).dtype
    for _ in range(num_steps):
        report: StepReport = step(state, *batch(size, dtype))
        state.step += 1
    return report


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("num_workers", [1, 3])
def test_one_update_for_all_is_the_plain_one(num_workers: int) -> None:
    """m = n: bit for bit with one worker, up to the order of sums with several."""
    plain, assembled = (state_of(lenet().double()) for _ in range(2))
    step = step_of(clip=1.0)
    updated(plain, step_of(clip=1.0))
    updated(assembled, AssembledStep(step, step, assembled.model, num_workers=num_workers))

    tolerance = {"rtol": 1e-12, "atol": 1e-14} if num_workers > 1 else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(weights(assembled.model), weights(plain.model), **tolerance)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_fully_connected_layers_are_updated_after_each_n_images(name: str) -> None:
    """(11, 4): against the definition, written down with torch's own loss and two optimizers."""
    network = lenet(dropout=0.0).double()
    state, step = state_of(copy.deepcopy(network), name), step_of()
    report = updated(state, AssembledStep(step, step, state.model, fc_batch=4), num_steps=1)

    features, classifier = network.parted()
    once, often = (
        torch.optim.SGD(each.parameters(), lr=RATE, momentum=0.9)
        if name == "sgd"
        else torch.optim.AdamW(each.parameters(), lr=RATE, weight_decay=0.0)
        for each in (features, classifier)
    )
    images, labels = batch(11, torch.float64)
    seen, total = features(images), 0.0
    known = torch.zeros_like(seen)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 11)):
        part = seen.detach()[rows].requires_grad_()
        loss = nn.functional.cross_entropy(classifier(part), labels[rows])
        often.zero_grad()
        loss.backward()
        often.step()
        assert part.grad is not None
        known[rows] = part.grad * len(part) / 11
        total += float(loss.detach()) * len(part) / 11
    seen.backward(known)
    once.step()

    torch.testing.assert_close(weights(state.model), weights(network), rtol=1e-9, atol=1e-12)
    assert float(report.loss) == pytest.approx(total, rel=1e-12)


def test_a_simulated_worker_draws_the_masks_of_its_process() -> None:
    """Scheme data: the gradient is the sum of those of three processes, each with own masks."""
    network, (images, labels) = lenet().double().train(), batch(8, torch.float64)
    wanted = torch.zeros_like(weights(network))
    for rank, rows in enumerate((slice(0, 2), slice(2, 5), slice(5, 8))):
        other = copy.deepcopy(network)
        dropout_seeder(SEED, CPU, rank, 3)(7)
        (losses.cross_entropy(other(images[rows]), labels[rows]) / 8).backward()
        wanted += torch.cat([p.grad.flatten() for p in other.parameters() if p.grad is not None])

    state, step = state_of(network, momentum=0.0), step_of()
    state.step = 7
    for group in state.optimizer.param_groups:
        group["lr"] = 1.0
    before = weights(network)
    masks = [dropout_seeder(SEED, CPU, rank, 3) for rank in range(3)]
    WorkersInTurn(step, step, masks)(state, images, labels)
    torch.testing.assert_close(before - weights(network), wanted, rtol=1e-9, atol=1e-12)


def test_each_of_several_updates_is_clipped_by_its_own_norm() -> None:
    network = lenet(dropout=0.0)
    state, step = state_of(network, momentum=0.0), step_of(clip=0.001)
    features, classifier = network.parted()
    before = [weights(each) for each in (features, classifier)]
    images, labels = (torch.cat([half, half]) for half in batch(6))
    AssembledStep(step, step, network, fc_batch=6)(state, images, labels)

    parts = zip((features, classifier), before, strict=True)
    moved = [float((weights(each) - held).norm()) / RATE for each, held in parts]
    assert moved == pytest.approx([0.001, 2 * 0.001], rel=0.02)


def test_a_value_that_is_not_finite_in_a_later_part_stops_the_rest_and_is_named() -> None:
    state, step = state_of(lenet(dropout=0.0)), step_of()
    assembled = AssembledStep(step, step, state.model, fc_batch=4)
    updated(state, assembled, size=12, num_steps=1)
    features, classifier = state.model.parted()  # type: ignore[operator]
    held, images = weights(features), batch(12)[0]
    images[8:] = torch.inf

    assembled(state, images, batch(12)[1])
    state.step += 1
    assert torch.equal(weights(features), held)
    assert torch.isfinite(weights(classifier)).all()
    with pytest.raises(NumericsError, match="at step 1: loss nan"):
        step.guard.check(state)


def test_updates_within_a_batch_are_seen_in_bf16() -> None:
    """Autocast keeps a copy of each weight in bf16 until its context ends."""

    def bf16() -> Any:
        return torch.autocast("cpu", torch.bfloat16)

    found = []
    for precision in (nullcontext, bf16):
        state, step = state_of(lenet(dropout=0.0), momentum=0.0), step_of(precision=precision)
        assembled = AssembledStep(step, step, state.model, fc_batch=2)
        found.append(float(updated(state, assembled, size=12, num_steps=1).loss))
    plain = state_of(lenet(dropout=0.0), momentum=0.0)
    without = float(updated(plain, step_of(), size=12, num_steps=1).loss)
    assert found[1] == pytest.approx(found[0], rel=0.01)
    assert abs(found[0] - without) > 0.05 * without


@pytest.mark.parametrize(("frozen", "what"), [("c1 c3 c5", "convolutions"), ("f6 output", "fully")])
def test_parts_that_are_not_trained_are_not_updated_apart(frozen: str, what: str) -> None:
    network, step = lenet(), step_of()
    network.freeze(frozen.split())
    with pytest.raises(UsageError, match=f"fc_batch has no effect where the {what}"):
        AssembledStep(step, step, network, fc_batch=4)
