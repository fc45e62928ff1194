"""One of the processes that tests start with torchrun: trains alone and with the others.

    worker.py FILE [commands] CASE ...

Process 0 writes what it found to 0_FILE, and so on.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab import data, distributed, models
from cnnlab.config import ModelConfig, choices
from cnnlab.config.schema import parse
from cnnlab.data.augment import build_augment
from cnnlab.data.inputs import Inputs
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.stream import Stream
from cnnlab.distributed import ALONE, GradientSum, Peers
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator
from cnnlab.training.class_weights import WeightedStep
from cnnlab.training.loop import Step, TrainState, fit
from cnnlab.training.losses import build, of_network
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import DataParallel, TrainStep
from cnnlab.training.weight_average import AveragingStep, WeightAverage
from tests.data.settings import augment_config, dataset_config
from tests.distributed import commands

NUM_STEPS, SEED, CPU = 20, 5, torch.device("cpu")
CASES: dict[str, dict[str, Any]] = {
    "lenet5": {"side": 32, "num_images": 57, "parts": 1},
    "lenet5 in parts": {"side": 32, "num_images": 61, "parts": 3},
    "lenet5 weighted": {"side": 32, "num_images": 61, "parts": 2, "weights": torch.arange(1, 11)},
    "alexnet": {"side": 64, "num_images": 61, "parts": 1},
}
SMALL = {"head": "single", "dropout": 0.0}


def network(name: str, side: int) -> models.Network:
    plain = choices.alone("model", name)
    changes = SMALL if name == "alexnet" else {}
    config = parse(ModelConfig, {**plain, **changes})
    return models.build(config, in_channels=3, input_size_pixels=side, num_classes=10, seed=SEED)


def trained(case: str, peers: Peers) -> Tensor:
    """Return all weights after some steps in float64, one after another."""
    settings, name = CASES[case], case.split()[0]
    config = dataset_config(
        "synthetic",
        num_train=settings["num_images"],
        num_validation=0,
        image_size_pixels=settings["side"],
        pad_pixels=0,
    )
    store = data.build(config).train
    sampler = BatchSampler(len(store), batch_size=8, seed=SEED)
    stream = Stream(store, sampler, device=CPU, share=peers.share)
    augment = build_augment(augment_config("crop"), mirror_allowed=True)
    scale = Preprocessing(3, settings["side"], 0, torch.full((3,), 127.0), torch.full((3,), 64.0))
    inputs, model = Inputs(augment, scale, SEED), network(name, settings["side"]).double()

    def batches():
        for batch in stream.batches():
            yield inputs(batch).double(), batch.labels

    overlap_with = model if settings["parts"] == 1 else None
    processes = DataParallel(
        peers.share, GradientSum(peers, overlap_with=overlap_with), stream.num_images_at
    )
    weights = settings.get("weights")
    step: Step = TrainStep(
        of_network(build("cross_entropy", class_weights=weights)),
        NonFiniteGuard(CPU),
        seed_dropout=lambda pass_number: None,
        num_parts=settings["parts"],
        clip_gradient_norm=1.0,
        processes=processes if peers.size > 1 else None,
    )
    if weights is not None:
        assert isinstance(step, TrainStep)
        labels = (stream.epoch_labels, stream.steps_per_epoch)
        step = WeightedStep(step, weights.double(), *labels)
    average = WeightAverage(model, 0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    for group in optimizer.param_groups:
        group["base_rate"] = 0.01
    state = TrainState(model, optimizer)
    losses: list[float] = []
    fit(
        state,
        batches(),
        AveragingStep(step, average),
        lambda step: 1.0,
        [lambda state, report: losses.append(float(report.loss))],
        NUM_STEPS,
    )
    found = [*weights_of(model), *weights_of(average.network)]
    return torch.cat([*found, torch.tensor(losses, dtype=torch.float64)])


def gradient_of(peers: Peers, compression: str) -> tuple[Tensor, int]:
    """Return the gradient of a batch of all processes, and the bytes that this one sent for it."""
    model = network("lenet5", 32)
    gradient_sum = GradientSum(peers, compression, overlap_with=model)
    images = torch.rand(4, 3, 32, 32, generator=make_generator(SEED, "images"))
    loss = model(images[peers.share.slice_of(4).rows]).square().sum()
    loss.backward()
    gradient_sum(list(model.parameters()), loss.detach())
    gradients = [p.grad for p in model.parameters()]
    return torch.cat([g.flatten() for g in gradients if g is not None]), gradient_sum.num_bytes


def compressed(peers: Peers) -> dict[str, Any]:
    """Return bytes by kind of compression, and what rounding does to the gradient."""
    (exact, exact_bytes), (rounded, rounded_bytes) = (
        gradient_of(peers, name) for name in ("none", "bf16")
    )
    whole, _ = gradient_of(ALONE, "none")
    same = all(torch.equal(rounded, other) for other in peers.gather(rounded))
    return {
        "num_parameters": len(exact),
        "num_bytes": {"none": exact_bytes, "bf16": rounded_bytes},
        "apart": {name: apart(g, whole) for name, g in (("none", exact), ("bf16", rounded))},
        "same_everywhere": same,
    }


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def listening(pid: int) -> list[str]:
    """Return the addresses a process listens on, as /proc writes them."""
    folder = f"/proc/{pid}/fd"
    descriptors = [f"{folder}/{name}" for name in os.listdir(folder)]
    own = {os.stat(path).st_ino for path in descriptors if os.path.exists(path)}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[9]) in own]


def main() -> None:
    torch.set_num_threads(1)
    file, *asked = sys.argv[1:]
    found: dict[str, Any] = {}
    with distributed.joined(CPU, timeout_seconds=60) as peers:
        for case in [name for name in CASES if name in asked]:
            in_job = trained(case, peers)
            assert all(torch.equal(in_job, other) for other in peers.gather(in_job))
            if peers.is_first:
                alone = trained(case, ALONE)
                found[case] = apart(in_job, alone)
                found[f"{case} moved"] = moved(case, alone)
        found["gradients"] = compressed(peers)
        found["listening"] = peers.gather(listening(os.getpid()))
        found["launcher_listening"] = listening(os.getppid())
        found["largest"] = peers.largest(peers.share.rank)
        found["broadcast"] = peers.broadcast(f"of {peers.share.rank}")
    if "commands" in asked:
        found["commands"] = commands.run()
    Path(f"{peers.share.rank}_{file}").write_text(json.dumps(found))


def weights_of(model: models.Network) -> list[Tensor]:
    return [parameter.detach().flatten() for parameter in model.parameters()]


def moved(case: str, trained_values: Tensor) -> float:
    """Return how far training took the weights, relative to where they began."""
    before = torch.cat(weights_of(network(case.split()[0], CASES[case]["side"]).double()))
    return float((trained_values[: len(before)] - before).norm() / before.norm())


if __name__ == "__main__":
    main()
