"""A compiled step is the step; what cannot be compiled is said and never done another way."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cnnlab.cli import main
from cnnlab.compiling import check, compiled, explained
from cnnlab.errors import ResourceError, UsageError
from cnnlab.runtime import dropout_seeder
from cnnlab.training import losses
from cnnlab.training.loop import TrainState
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import TrainStep
from tests.compilers import needs_compiler

CPU = torch.device("cpu")


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))


def trained(parts: int, *, compile_loss: bool) -> tuple[list[float], list[Tensor]]:
    """Return the losses and the parameters of steps of whole and short batches, at other rates."""
    model = network()
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True))
    loss = losses.of_network(losses.cross_entropy)
    loss = compiled(loss) if compile_loss else loss
    step = TrainStep(loss, NonFiniteGuard(CPU), dropout_seeder(0, CPU), num_parts=parts)
    reports = []
    generator = torch.Generator().manual_seed(0)
    for size, rate in ((8, 0.1), (8, 0.05), (5, 0.05), (8, 0.02)):
        state.optimizer.param_groups[0]["lr"] = rate
        images = torch.randn(size, 6, generator=generator)
        reports.append(step(state, images, torch.arange(size) % 4).loss.item())
        state.step += 1
    return reports, [parameter.detach() for parameter in model.parameters()]


@needs_compiler
@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_compiled_steps_train_as_plain_ones_do(parts: int) -> None:
    found, expected = trained(parts, compile_loss=True), trained(parts, compile_loss=False)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    for mine, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@needs_compiler
def test_compiled_steps_repeat_bit_for_bit() -> None:
    losses_once, once = trained(1, compile_loss=True)
    losses_again, again = trained(1, compile_loss=True)
    assert losses_once == losses_again
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_what_is_no_single_graph_is_refused_with_the_reason() -> None:
    def depends_on_values(images: Tensor) -> Tensor:
        return images * 2 if images.sum() > 0 else images

    with pytest.raises(UsageError, match=r"(?s)one graph.*runtime\.compile=false"):
        explained(compiled(depends_on_values))(torch.ones(2))


def test_a_computation_of_ever_new_sizes_ends_and_does_not_fall_back() -> None:
    run = explained(compiled(lambda images: images))  # nothing to generate code for
    for size in range(torch._dynamo.config.recompile_limit):
        run(torch.ones(2 + size))
    with pytest.raises(UsageError, match="one graph"):
        run(torch.ones(1000))


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(ResourceError, match=r"(?s)no-such-compiler.*C\+\+ compiler"):
        explained(compiled(lambda images: images.exp().sum() * 1.25))(torch.ones(7))


@needs_compiler
def test_a_compiler_that_fails_in_the_backward_pass_ends_the_command_as_any_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch compiles the backward pass inside `loss.backward()`, after the forward pass has run."""
    from torch._inductor import config

    backward = Tensor.backward

    def backward_without_compiler(loss: Tensor) -> None:
        monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
        backward(loss)

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # nothing compiled yet
    monkeypatch.setattr(Tensor, "backward", backward_without_compiler)

    words = ["experiment=debug", "model=linear", "runtime.compile=true", "runtime.num_threads=1"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}"]) == ResourceError.exit_code
    message = capsys.readouterr().err
    assert "torch.compile failed" in message
    assert "C++ compiler" in message
    assert "bug" not in message


def test_mean_pooling_that_torch_compiles_wrong_is_refused_by_name() -> None:
    wrong = nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True))
    with pytest.raises(UsageError, match=r"(?s)layer '1'.*count_include_pad=False"):
        check(wrong)
    check(nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)))
    check(nn.Sequential(nn.AvgPool2d(2)))
