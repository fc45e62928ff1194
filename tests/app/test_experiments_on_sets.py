"""Every experiment on a large set trains, on a small set in that set's exact format on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.torture.command import call
from tests.data.disk_formats import write_cifar10
from tests.data.pictures import write_devkit, write_gtsrb, write_imagenet

SMALL = (
    "trainer.epochs=1", "trainer.batch_size=4", "trainer.limit_train_batches=2",
    "dataset.num_validation=4", "evaluation=center", "runtime.device=cpu", "runtime.num_threads=1",
    "runtime.precision=fp32", "logging.tensorboard=false", "logging.report=false",
    "logging.progress=false",
)  # fmt: skip


def write_imagenet_2010(root: Path) -> Path:
    """Write ILSVRC 2010, whose devkit has a field of its own, and which is tested on test/."""
    write_devkit(write_imagenet(root), id_field="ILSVRC2010_ID")
    (root / "val").rename(root / "test")
    return root


EXPERIMENTS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "lenet5_gtsrb": (write_gtsrb, ("dataset.num_validation=86",)),
    "cifar_13pct_cifar10": (write_cifar10, ()),
    "cifar_11pct_cifar10": (write_cifar10, ("evaluation=grid_3x3",)),
    "alexnet_2010_source": (write_imagenet_2010, ()),
    "alexnet_cifar10": (write_cifar10, ("schedule.warmup_epochs=0",)),
    "alexnet_imagenet": (write_imagenet, ()),
    "alexnet_2014_imagenet": (write_imagenet, ()),
    "zfnet_imagenet": (write_imagenet, ()),
    "alexnet_two_gpu_imagenet": (write_imagenet, ("model=alexnet_two_tower",)),  # on one device
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_trains_on_its_set(name: str, tmp_path: Path) -> None:
    write, words = EXPERIMENTS[name]
    write(tmp_path / "set")
    outcome = call(
        "train", f"experiment={name}", f"dataset.root={tmp_path / 'set'}", *SMALL, *words,
        f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.errors
    assert "test error" in outcome.output
