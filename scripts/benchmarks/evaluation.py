"""Evaluation beside what a user would write: ten views against a TenCrop loop, and its overhead.

    python scripts/benchmarks/evaluation.py [rounds]

Ratios are medians over interleaved rounds, with the range. Evaluation is measured as a whole:
reading the images from memory, normalization, network, probabilities, counting.
"""

import copy
import platform
from collections.abc import Callable

import torch
from head import in_words, machine, options, spread
from PIL import Image
from timing import seconds
from torch import Tensor, nn
from torchvision import transforms
from work import random_network

from cnnlab.data.store import ArrayStore
from cnnlab.data.stream import InOrder
from cnnlab.evaluation import views
from cnnlab.evaluation.evaluate import Member, evaluate, evaluating, predict_views
from cnnlab.inference.members import crops_at_once
from cnnlab.models import Network
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import configure

CASES = (  # model, channels, image side, crop side, images, batch size
    ("lenet5", 1, 36, 32, 512, 256),
    ("cifar_13pct", 3, 40, 32, 64, 64),
    ("cifar_11pct", 3, 32, 24, 64, 64),
    ("alexnet_cifar", 3, 40, 32, 16, 16),
    ("alexnet", 3, 256, 224, 4, 4),
)
"""Ten views of these networks, with as many images as make the time of a round stable."""

BATCH = 256

OVERHEAD_CASES = (  # model, channels, image side, batches of 256
    ("lenet5", 1, 32, 20),
    ("cifar_13pct", 3, 32, 2),
    ("alexnet", 3, 224, 1),
)


def network_of(name: str, channels: int, size: int) -> Network:
    """Return a network for evaluation, with weights so large that its outputs differ by image."""
    network = random_network(name, channels, size)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in (p for p in network.parameters() if p.dim() > 1):
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=generator)
    return network.to(memory_format=torch.channels_last).eval()


def member_of(network: Network, channels: int, image: int, crop: int, name: str) -> Member:
    """Return the network with normalization and views, as evaluation takes it."""
    mean, std = torch.full((channels,), 120.0), torch.full((channels,), 60.0)
    preprocessing = Preprocessing(channels, image, 0, mean, std)
    at_once = crops_at_once(network, torch.device("cpu"))
    cut = views.build(name, crop_pixels=crop)
    return Member("network", network, preprocessing, cut, crops_at_once=at_once)


def ten_crop_loop(network: nn.Module, images: list[Image.Image], crop: int) -> Tensor:
    """Return probabilities as torchvision's documentation shows: TenCrop, one pass per image."""
    cut, to_tensor = transforms.TenCrop(crop), transforms.PILToTensor()
    probabilities = []
    with torch.no_grad():
        for image in images:
            stacked = torch.stack([(to_tensor(view).float() - 120) / 60 for view in cut(image)])
            probabilities.append(network(stacked).softmax(1).mean(0))
    return torch.stack(probabilities)


def as_pil(images: Tensor) -> list[Image.Image]:
    """Return the images as torchvision's datasets return them."""
    arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(a[..., 0] if a.shape[2] == 1 else a) for a in arrays]


def ten_views(member: Member, images: Tensor, batch: int) -> Tensor:
    """Return the same probabilities, computed by cnnlab."""
    with evaluating([member]):
        parts = [predict_views([member], part).mean((1, 2)) for part in images.split(batch)]
    return torch.cat(parts)


def compared(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> str:
    """Return slow / fast over the rounds, as text; both run once before."""
    slow(), fast()
    return in_words(spread([seconds(slow, 1) / seconds(fast, 1) for _ in range(rounds)]))


def random_images(number: int, channels: int, side: int) -> Tensor:
    """Return uint8 [N,C,S,S], channels last as a Store's are."""
    generator = torch.Generator().manual_seed(0)
    shape = (number, side, side, channels)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return pixels.permute(0, 3, 1, 2)


def compare_ten_views(rounds: int) -> None:
    """Print how much faster ten views are than the loop, and by how much the results differ."""
    for name, channels, side, crop, number, batch in CASES:
        network = network_of(name, channels, crop)
        member = member_of(network, channels, side, crop, "ten_view")
        images = random_images(number, channels, side)

        plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
        pictures = as_pil(images)
        loop = lambda n=plain, i=pictures, c=crop: ten_crop_loop(n, i, c)  # noqa: E731
        ours = lambda m=member, i=images, b=batch: ten_views(m, i, b)  # noqa: E731
        difference = float((loop() - ours()).abs().max())
        speedup = compared(loop, ours, rounds)
        print(f"ten views of {name}, {number} images: {speedup} x, "
              f"largest difference {difference:.1e}")  # fmt: skip


def measure_overhead(rounds: int) -> None:
    """Print the time of an evaluation over the time of the forward passes, at batch size 256."""
    for name, channels, side, number in OVERHEAD_CASES:
        network = network_of(name, channels, side)
        member = member_of(network, channels, side, side, "center")
        images = random_images(number * BATCH, channels, side)

        labels = torch.arange(len(images)) % 10
        names = tuple("0123456789")
        store = ArrayStore("noise", "test", images.permute(0, 2, 3, 1), labels, names, True)
        batches = InOrder(
            store, batch_size=BATCH, device="cpu", prepare=member.preprocessing.prepare
        )
        ready = [member.preprocessing.normalize(part) for part in images.split(BATCH)]

        def forward(network: nn.Module = network, ready: list[Tensor] = ready) -> None:
            with torch.inference_mode():
                for part in ready:
                    network(part)

        def whole(member: Member = member, batches: InOrder = batches) -> None:
            evaluate([member], batches, num_classes=10)

        ratio = compared(whole, forward, rounds)
        print(f"evaluation / forward, {name}, batch {BATCH}: {ratio}")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=7)
    given = parser.parse_args()
    configure(torch.device("cpu"))
    facts, threads = machine(), torch.get_num_threads()
    print(f"{facts['processor']}, {threads} threads; torch {facts['torch']}, {platform.system()}")
    measure_overhead(given.rounds)
    compare_ten_views(given.rounds)


if __name__ == "__main__":
    main()
