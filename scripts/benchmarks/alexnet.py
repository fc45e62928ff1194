"""AlexNet at 224 pixels against torchvision's reference loop on data in memory, interleaved."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import ours
import peers
import torchvision
from head import answer, options, parse
from serving import serve, start
from timing import compared_loops
from torch import nn
from work import Advance, Work, our_parts, take_weights, textbook_alexnet, work_of

SETTINGS = (
    "dataset=synthetic",
    "dataset.image_size_pixels=224",
    "dataset.num_train=712",  # 512 of them train: no epoch, and so no save, ends in a timed step
    "augment=none",
    "schedule=constant",
    "optimizer.learning_rate=0.001",
    "optimizer.weight_decay=0",
    "model.dropout=0",
    "model.initialization=kaiming",
)
"""Without dropout, whose masks no two frameworks draw alike; ten classes instead of 1,000."""

FLOP_PER_IMAGE = {"alexnet": 6.60e9, "alexnet_2014": 4.14e9}
"""Forward and backward with 1,000 classes; ten are 0.4 % less."""


def torchvision_alexnet(work: Work) -> nn.Module:
    """Return torchvision's own AlexNet with our weights."""
    network = torchvision.models.alexnet(num_classes=10, dropout=0.0)
    return take_weights(network, work)


NETWORKS: dict[str, Callable[[Work], nn.Module]] = {
    "alexnet": partial(textbook_alexnet, response_norm=True, num_classes=10),
    "alexnet_2014": torchvision_alexnet,
}

PEER = "torchvision reference loop"


def loop(name: str, model: str, given: argparse.Namespace) -> Advance:
    """Build the loop called `name`; all start from the same weights."""
    settings = (*SETTINGS, f"model={model}", f"trainer.batch_size={given.batch_size}")
    if name == PEER:
        parts = our_parts(*settings, device=given.device, configured=False)
        return peers.reference_recipe(work_of(parts), NETWORKS[model])

    chooses = ours.chooses_threads(name, given.threads, given.device)
    return ours.whole_training(our_parts(*settings, device=given.device, chooses_threads=chooses))


def measure(model: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the rows of one network as plain JSON."""
    same = ("--threads", str(given.threads), "--device", str(given.device))
    words = ("--models", model, "--batch-size", str(given.batch_size), *same)
    loops = {
        name: start(
            __file__,
            name,
            *words,
            variables=ours.variables_of(name, given.threads, given.device),
        )
        for name in [*ours.rows(given.threads, given.device), PEER]
    }
    found = compared_loops(
        loops,
        batch_size=given.batch_size,
        flop_per_image=FLOP_PER_IMAGE[model],
        num_steps=given.steps,
        rounds=given.rounds,
        device=given.device,
        same_losses=2,
    )
    return {"model": model, **found}


def main() -> None:
    parser = options(__doc__, rounds=9, threads=True, device=True)
    parser.add_argument("--models", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1, help="per round")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parse(parser)

    if given.serve:
        serve(loop(given.serve, given.models[0], given))
        return

    answer("alexnet", [measure(model, given) for model in given.models])


if __name__ == "__main__":
    main()
