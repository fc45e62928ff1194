"""One update: parts equal the whole, clipping, dropout as a function of the step, precision."""

import math

import pytest
import torch
from torch import Tensor, nn

from cnnlab import training
from cnnlab.config.training import SgdConfig, TrainerConfig
from cnnlab.training import optimizers
from cnnlab.training.loop import Step, TrainState

CPU = torch.device("cpu")


def network(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout)]
        return nn.Sequential(*layers, nn.Linear(48, 4)).to(dtype)


def digits(num_images: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_images)
    images = torch.randn(num_images, 1, 6, 6, generator=generator, dtype=torch.float64)
    return images.to(dtype), torch.randint(0, 4, (num_images,), generator=generator)


def begin(model: nn.Module, rate: float = 0.1) -> TrainState:
    config = SgdConfig(
        name="sgd",
        learning_rate=rate,
        momentum=0.9,
        weight_decay=0.0,
        decay_biases=True,
        bias_rate_factor=1.0,
        groups=[],
    )
    return TrainState(model, optimizers.build(config, model))


def make_step(
    parts: int = 1,
    clip: float | None = None,
    precision: str = "fp32",
    seed: int = 0,
) -> Step:
    trainer = TrainerConfig(
        epochs=1,
        batch_size=1,
        accumulate=parts,
        clip_gradient_norm=clip,
        max_filter_rms=None,
        early_stop_epochs=None,
        validate_every_epochs=1,
        limit_train_batches=None,
        overfit_one_batch=False,
        log_every_steps=1,
    )
    return training.build_step(trainer, device=CPU, precision=precision, seed=seed)


@pytest.mark.parametrize("num_images", [12, 11, 5, 2, 1])
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_parts_of_a_batch_equal_the_whole(num_images: int, parts: int) -> None:
    images, labels = digits(num_images)
    whole, in_parts = begin(network()), begin(network())
    for _ in range(3):
        one = make_step()(whole, images, labels)
        other = make_step(parts)(in_parts, images, labels)
    assert other.num_images == one.num_images == num_images
    assert other.loss.item() == pytest.approx(one.loss.item(), rel=1e-12)
    assert other.gradient_norm.item() == pytest.approx(one.gradient_norm.item(), rel=1e-12)
    for ours, theirs in zip(in_parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)  # float64 rounding


def test_the_loss_is_the_mean_over_the_batch() -> None:
    images, labels = digits(5)
    model = network()
    scores = model(images)
    expected = nn.functional.cross_entropy(scores, labels).item()
    report = make_step()(begin(model), images, labels)
    assert report.loss.item() == pytest.approx(expected, rel=1e-14)
    assert not report.loss.requires_grad


def test_gradient_norm_is_that_of_all_parameters_before_clipping() -> None:
    images, labels = digits(5)
    model = network()
    nn.functional.cross_entropy(model(images), labels).backward()
    squares = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
    for clip in (None, 1e-3):
        report = make_step(clip=clip)(begin(network()), images, labels)
        assert report.gradient_norm.item() == pytest.approx(math.sqrt(squares), rel=1e-12)


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_clipping_shortens_the_first_update_to_its_norm_and_never_lengthens_it(clip: float) -> None:
    images, labels = digits(5)
    state = begin(network(), rate=1.0)
    before = [p.detach().clone() for p in state.model.parameters()]
    report = make_step(clip=clip)(state, images, labels)
    moved = torch.cat(
        [(p.detach() - b).flatten() for p, b in zip(state.model.parameters(), before, strict=True)]
    )
    # torch adds 1e-6 to the norm that it divides by
    assert moved.norm().item() == pytest.approx(min(clip, report.gradient_norm.item()), rel=1e-5)


def gradients(step: Step, at: int, images: Tensor, labels: Tensor) -> list[Tensor]:
    state = begin(network(dropout=0.5))
    state.step = at
    step(state, images, labels)
    return [p.grad.clone() for p in state.model.parameters() if p.grad is not None]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("parts", [1, 2])
def test_dropout_is_a_function_of_seed_and_step(parts: int) -> None:
    images, labels = digits(8)
    first = gradients(make_step(parts), 4, images, labels)
    torch.rand(100)  # what else draws from torch's generator does not matter
    assert equal(first, gradients(make_step(parts), 4, images, labels))
    assert not equal(first, gradients(make_step(parts), 5, images, labels))
    assert not equal(first, gradients(make_step(parts, seed=1), 4, images, labels))


def test_parts_of_a_batch_do_not_share_their_dropout_masks() -> None:
    images, labels = digits(4)
    twice, twice_labels = torch.cat([images, images]), torch.cat([labels, labels])
    masked: list[Tensor] = []
    state = begin(network(dropout=0.5))
    state.model[3].register_forward_hook(lambda m, i, out: masked.append(out.detach() == 0))
    make_step(2)(state, twice, twice_labels)
    assert not torch.equal(masked[0], masked[1])


def test_batch_seen_by_parts_is_in_order_and_complete() -> None:
    images, labels = digits(7)
    seen: list[Tensor] = []
    state = begin(network())
    state.model[0].register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    make_step(3)(state, images, labels)
    assert [len(part) for part in seen] == [3, 3, 1]
    assert torch.equal(torch.cat(seen), images)


def test_bf16_rounds_the_products_and_keeps_weights_in_float32() -> None:
    images, labels = digits(8, torch.float32)
    dtypes: list[torch.dtype] = []
    state = begin(network(dtype=torch.float32))
    state.model[0].register_forward_hook(lambda m, i, out: dtypes.append(out.dtype))
    report = make_step(precision="bf16")(state, images, labels)
    full = make_step()(begin(network(dtype=torch.float32)), images, labels)
    assert dtypes == [torch.bfloat16]
    assert {p.dtype for p in state.model.parameters()} == {torch.float32}
    assert report.loss.dtype == torch.float32
    # bfloat16 has 8 bits: a relative rounding of 2^-9 a product
    assert report.loss.item() == pytest.approx(full.loss.item(), rel=2e-2)
    assert report.loss.item() != full.loss.item()


def test_clipping_works_when_parameters_stay_without_gradient() -> None:
    images, labels = digits(3)
    state = begin(network())
    state.model.register_parameter("spare", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    state.optimizer.param_groups[0]["params"].append(state.model.spare)
    make_step(clip=1.0)(state, images, labels)
    assert torch.equal(state.model.spare, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("parts", [1, 2])
def test_reports_do_not_keep_the_graph_alive(parts: int) -> None:
    report = make_step(parts)(begin(network()), *digits(3))
    assert report.loss.grad_fn is None
    assert report.gradient_norm.grad_fn is None
