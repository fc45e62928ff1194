"""`trainer.max_filter_rms` in a run: every rule, towers, resuming; refused without filters."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.config import OPTIMIZERS, parse_train
from cnnlab.errors import UsageError
from cnnlab.models import Network
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.trainer.filters import trained_filters
from cnnlab.training.loop import TrainState
from tests.test_config import composed

LIMIT = 0.05
"""Below the deviations that the networks here are initialized with."""
LEAN = (
    "logging.report=false", "logging.tensorboard=false", "logging.progress=false",
    "runtime.device=cpu", "runtime.num_threads=1", "trainer.batch_size=8", "augment=none",
    "dataset=synthetic", "dataset.num_train=40", "dataset.num_validation=8", "dataset.num_test=10",
)  # fmt: skip
CLIPPED = f"trainer.max_filter_rms={LIMIT}"
RULES = {
    "levenberg_marquardt": (
        "model=lenet5_1998", "dataset.channels=1", "optimizer.num_curvature_images=8",
    ),
}  # fmt: skip
TOWERS = (
    "model.width=0.0625", "model.head=single", "model.dropout=0", "dataset.image_size_pixels=64",
)  # fmt: skip


def trained(*words: str, steps: int = 2) -> Assembly:
    parts = assemble(parse_train(composed("train", *LEAN, *words)), torch.device("cpu"))
    state = TrainState(parts.network.train(), parts.optimizer)
    for images, labels in islice(parts.batches(), steps):
        parts.step(state, images, labels)
        state.step += 1
    return parts


def largest(network: Network) -> float:
    return max(rms.max().item() for rms in map(sizes, trained_filters(network)))


def sizes(weight: Tensor) -> Tensor:
    return weight.detach().flatten(1).square().mean(1).sqrt()


@pytest.mark.parametrize(
    "rule",
    [pytest.param(r, marks=[pytest.mark.slow] if r == "adamw" else []) for r in OPTIMIZERS],
)  # torch's own rules import its compiler
def test_no_filter_is_larger_after_an_update_of_any_rule(rule: str) -> None:
    words = (f"optimizer={rule}", *RULES.get(rule, ()))

    assert largest(trained(*words).network) > 2 * LIMIT
    network = trained(*words, CLIPPED).network
    assert largest(network) == pytest.approx(LIMIT, rel=1e-5)
    others = [
        p for layer in network.layers if layer.role == "fc" for p in layer.module.parameters()
    ]
    assert max(p.abs().max().item() for p in others) > LIMIT


def test_both_towers_are_clipped_as_one_network_is() -> None:
    one = trained("model=alexnet_two_tower", *TOWERS, CLIPPED).network
    two = trained("model=alexnet_two_gpu", "model.devices=[cpu,cpu]", *TOWERS, CLIPPED).network

    assert len(trained_filters(two)) == 2 * len(trained_filters(one)) == 10
    assert largest(one) == pytest.approx(LIMIT, rel=1e-5)
    mine, theirs = two.state_dict(), one.state_dict()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_clipped_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    few = (*LEAN, "trainer.limit_train_batches=2", "schedule=constant", CLIPPED)
    for name, epochs in (("whole", 2), ("parts", 1)):
        words = [*few, f"trainer.epochs={epochs}", f"hydra.run.dir={tmp_path / name}"]
        assert main(["train", *words]) == 0
    assert main(["train", f"resume={tmp_path / 'parts'}", "trainer.epochs=2"]) == 0

    wanted, found = (tensors(tmp_path / name) for name in ("whole", "parts"))
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert sizes(wanted["model.c1.weight"]).max().item() <= LIMIT * (1 + 2e-6)


def tensors(run: Path) -> dict[str, Tensor]:
    (last,) = (run / "checkpoints").glob("last*")
    return checkpoint.read(last).tensors


@pytest.mark.parametrize(
    "words", [("model=linear",), ("model=mlp",), ("model=lenet5", "model.train_layers=head")]
)
def test_it_is_refused_where_no_filter_is_trained(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="no convolution of it is trained"):
        trained(*words, CLIPPED, steps=0)
