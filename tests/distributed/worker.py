"""One of the processes that tests start with torchrun: trains and evaluates, alone and together.

The first process writes what it found to the file named in the first argument.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor

from cnnlab import data, distributed, models
from cnnlab.config import MODELS, choices
from cnnlab.config.schema import parse
from cnnlab.data.augment import build_augment
from cnnlab.data.stream import InOrder, Stream
from cnnlab.distributed import ALONE, GradientSum, Peers
from cnnlab.evaluation import views
from cnnlab.evaluation.evaluate import Member, evaluate
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator
from cnnlab.training import steps
from cnnlab.training.latch import Latch
from cnnlab.training.loop import TrainState, fit
from tests.data.settings import augment_config, dataset_config

NUM_STEPS, SEED, CPU = 20, 5, torch.device("cpu")
CASES: dict[str, dict[str, Any]] = {
    "lenet5": {"side": 32, "num_images": 57, "parts": 1},
    "lenet5 in parts": {"side": 32, "num_images": 61, "parts": 3},
    "alexnet": {"side": 64, "num_images": 61, "parts": 1},
}
SMALL = {"head": "single", "dropout": 0.0}


def network(name: str, side: int) -> models.Network:
    plain = choices.read(choices.configs_folder() / "model" / f"{name}.yaml")
    changes = SMALL if name == "alexnet" else {}
    config = parse(MODELS[name], {**plain, **changes})
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
    stream = Stream(data.build(config).train, batch_size=8, seed=SEED, device=CPU)
    stream.take_share(peers.share)
    augment = build_augment(augment_config("crop"), mirror_allowed=True)
    scale = Preprocessing(3, settings["side"], 0, torch.full((3,), 127.0), torch.full((3,), 64.0))
    model = network(name, settings["side"]).double()

    def batches():
        for batch in stream.batches():
            pictures = augment(
                batch.images, make_generator(SEED, "augment", batch.step), batch.part
            )
            yield scale.normalize(pictures).double(), batch.labels

    combine = GradientSum(peers)
    if settings["parts"] == 1 and peers.size > 1:
        combine.attach(model)
    recipe = steps.Recipe(
        loss=steps_loss,
        precision=torch.enable_grad,
        seed_dropout=lambda index: None,
        parts=settings["parts"],
        num_images=lambda step, labels: stream.num_images_at(step),
    )
    step = steps.build(
        "plain" if settings["parts"] == 1 else "accumulating",
        recipe,
        latch=Latch(CPU),
        clip_gradient_norm=1.0,
        combine=combine,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for group in optimizer.param_groups:
        group["base_rate"] = 0.01
    state = TrainState(model, optimizer)
    losses: list[float] = []
    fit(
        state,
        batches(),
        step,
        lambda step: 1.0,
        [lambda state, report: losses.append(float(report.loss))],
        NUM_STEPS,
    )
    return torch.cat([*weights_of(model), torch.tensor(losses, dtype=torch.float64)])


def steps_loss(scores: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(scores, labels, reduction="sum")


def counted(peers: Peers) -> dict[str, Any]:
    """Judge 61 images, this process its share; return the sums of all."""
    config = dataset_config("synthetic", num_test=61, image_size_pixels=32, pad_pixels=0)
    batches = InOrder(data.build(config).test, batch_size=7, device=CPU)
    batches.take_share(peers.share)
    scale = Preprocessing(3, 32, 0, torch.full((3,), 127.0), torch.full((3,), 64.0))
    cut = views.build("five_crop", crop_pixels=32, padding_pixels=2)
    member = Member("lenet5", network("lenet5", 32), scale, cut)
    tally = sum_of(peers.gather(evaluate([member], batches, num_classes=10)))
    return {
        "num_images": tally.num_images,
        "top1_errors": tally.top1_errors,
        "top5_errors": tally.top5_errors,
        "confusion": tally.confusion.tolist(),
        "cross_entropy": tally.cross_entropy,
    }


def sum_of(tallies: list[Any]) -> Any:
    total = tallies[0]
    for tally in tallies[1:]:
        total = total + tally
    return total


def traffic(peers: Peers, compression: str) -> tuple[int, int]:
    """Return bytes sent for one backward pass, and the number of parameters."""
    model = network("lenet5", 32)
    combine = GradientSum(peers, compression)
    combine.attach(model)
    loss = model(torch.ones(2, 3, 32, 32)).sum()
    loss.backward()
    combine(list(model.parameters()), loss.detach())
    return combine.num_bytes, sum(p.numel() for p in model.parameters())


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with distributed.joined(CPU, timeout_seconds=60) as peers:
        for case in CASES:
            together = trained(case, peers)
            assert all(torch.equal(together, other) for other in peers.gather(together))
            if peers.is_first:
                alone = trained(case, ALONE)
                found[case] = float((together - alone).norm() / alone.norm())
                found[f"{case} moved"] = moved(case, alone)
        found["together"], found["alone"] = counted(peers), counted(ALONE)
        found["traffic"] = [traffic(peers, name) for name in ("none", "bf16")]
        found["largest"] = peers.largest(peers.rank)
        found["broadcast"] = peers.broadcast(f"of {peers.rank}")
        if peers.is_first:
            with open(sys.argv[1], "w", encoding="utf-8") as file:
                json.dump(found, file)


def weights_of(model: models.Network) -> list[Tensor]:
    return [parameter.detach().flatten() for parameter in model.parameters()]


def moved(case: str, trained_values: Tensor) -> float:
    """Return how far training took the weights, relative to where they began."""
    before = torch.cat(weights_of(network(case.split()[0], CASES[case]["side"]).double()))
    return float((trained_values[: len(before)] - before).norm() / before.norm())


if __name__ == "__main__":
    main()
