"""The peer of target.py: the program of PyTorch's MNIST example with LeNet-5 on Fashion-MNIST.

As in pytorch/examples, mnist/main.py: Adadelta at rate 1, times 0.7 after every epoch, batches of
64, a DataLoader in this process that decodes image by image, the loss printed every ten steps, an
evaluation in batches of 1,000 after every epoch. Changed: the dataset (Fashion-MNIST, its own mean
and standard deviation, two black pixels around), the network (LeNet-5 with ReLU and max pooling),
cross-entropy in one function, and the evaluation on the 5,000 validation images of cnnlab.

    python scripts/benchmarks/example_program.py FOLDER SEED THREADS

It prints one line per epoch; target.py measures the seconds since the start of the process.
"""

import gzip
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

MAX_EPOCHS = 14
MEAN, DEVIATION = 0.2860, 0.3530


class Clothes(Dataset):
    """Images as torchvision's MNIST classes return them: PIL, then a transform, one at a time."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        steps = [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


def read(folder: Path, kind: str) -> Tensor:
    """Return the bytes after the header of one of the dataset's files."""
    name, header = {"images": ("idx3", 16), "labels": ("idx1", 8)}[kind]
    packed = (folder / f"train-{kind}-{name}-ubyte.gz").read_bytes()
    return torch.frombuffer(bytearray(gzip.decompress(packed)), dtype=torch.uint8)[header:]


def lenet5() -> nn.Sequential:
    """Return LeNet-5 with ReLU and max pooling, as a textbook writes it."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def train(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    """Train for one epoch, as the example does."""
    model.train()
    for index, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        if index % 10 == 0:
            print(f"step {index} loss {loss.item():.6f}", file=sys.stderr)


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the fraction of images whose label has the highest score."""
    model.eval()
    num_right = 0
    with torch.no_grad():
        for data, target in loader:
            num_right += int((model(data).argmax(1) == target).sum())
    return num_right / len(loader.dataset)  # type: ignore[arg-type]


def main() -> None:
    folder, seed, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(seed)

    images, labels = read(folder, "images").view(-1, 28, 28), read(folder, "labels")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held_out, rest = order[:5000], order[5000:]
    training = DataLoader(Clothes(images[rest], labels[rest]), batch_size=64, shuffle=True)
    validation = DataLoader(Clothes(images[held_out], labels[held_out]), batch_size=1000)

    model = lenet5()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = StepLR(optimizer, step_size=1, gamma=0.7)

    for epoch in range(1, MAX_EPOCHS + 1):
        train(model, training, optimizer)
        print(f"epoch {epoch} accuracy {accuracy(model, validation):.4f}", flush=True)
        schedule.step()


if __name__ == "__main__":
    main()
