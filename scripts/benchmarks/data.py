"""Images per second of reading, preparing and augmenting, beside torchvision's and timm's loaders.

    python scripts/benchmarks/data.py [--only read1 read2 small prepare] [--images 2000]

Every round runs each loader once, in turns; printed are medians over the rounds, by the clock and
by processor time, and the ratios within a round. All return the same: float batches
[128,3,224,224], randomly cropped and mirrored, normalized; or [64,1,32,32] for the small dataset.
One core is one thread and no workers. The process keeps freed memory, for all loaders, as
`cnnlab train` does.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from head import options
from photographs import write_photographs
from PIL import Image
from rates import Pass, race, record, table

from cnnlab import data
from cnnlab.app.prepare import recipe_for, sources_for
from cnnlab.config.augment import CropMirrorConfig
from cnnlab.config.data import DownloadConfig, FolderConfig
from cnnlab.config.verbs.prepare import PrepareConfig
from cnnlab.data.augment import build_augment
from cnnlab.data.building import Builder
from cnnlab.data.inputs import Inputs
from cnnlab.data.prepared import open_splits
from cnnlab.data.recipe import Tolerance
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.store import Store, SubsetStore
from cnnlab.data.stream import Batch, InOrder, Stream
from cnnlab.data.workers import Workers
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import keep_freed_memory

BATCH, SMALL_BATCH = 128, 64


def folder_config(root: Path, num_threads: int) -> FolderConfig:
    """Return class folders at 256 pixels, the input size of the 2012 network."""
    return FolderConfig(
        name="folder", root=str(root), image_size_pixels=256, pad_pixels=0, num_validation=0,
        split_seed=0, channels=None, normalize="channel", permutation_seed=None,
        residency="mapped", num_decode_threads=num_threads, on_bad="fail", num_test=0,
        mirror_allowed=True,
    )  # fmt: skip


def prepare_config(root: Path, encoding: str, num_threads: int) -> PrepareConfig:
    """Return the defaults of `cnnlab prepare`."""
    return PrepareConfig(
        dataset=folder_config(root, num_threads), output=None, encoding=encoding,
        side_pixels=None, kernel="bilinear", quality=95, on_bad="fail", max_bad_fraction=0,
        max_image_pixels=50_000_000, shard_megabytes=64, num_threads=num_threads,
        wait_seconds=0, verify=False,
    )  # fmt: skip


def build_store(root: Path, output: Path, encoding: str, num_threads: int = 1) -> Path:
    """Prepare the photographs as a Store in `output`."""
    config = prepare_config(root, encoding, num_threads)
    sources = sources_for(data.load(config.dataset), config)
    Builder(sources, recipe_for(config), output, Workers(num_threads)).run(Tolerance("fail", 0))
    return output


def our_pass(store: Store, crop_pixels: int, num_images: int, pixels: int) -> Pass:
    """Stream, crop, mirror and normalize as training does; set up before the time is taken."""
    channels, small = store.image_shape[2], crop_pixels < 64
    mean, std = torch.full((channels,), 120.0), torch.full((channels,), 60.0)
    padding = (pixels - store.image_shape[0]) // 2
    preprocessing = Preprocessing(channels, pixels, padding, mean, std)
    config = CropMirrorConfig(
        name="crop_mirror", padding_pixels=4 if small else 0, crop_pixels=crop_pixels,
        force_mirror=False,
    )  # fmt: skip
    inputs = Inputs(build_augment(config, mirror_allowed=True), preprocessing, seed=0)
    batches = _epochs(store, preprocessing, num_images, small)

    def run() -> int:
        done = 0
        for batch in next(batches):
            done += len(inputs(batch))
        return done

    return run


def _epochs(
    store: Store, preprocessing: Preprocessing, num_images: int, small: bool
) -> Iterator[Iterable[Batch]]:
    """Yield shuffled passes.

    One that prefetches ends with its last batch, so that none of its work runs during another's.
    """
    if small:
        stream = Stream(
            store, BatchSampler(len(store), SMALL_BATCH, seed=0), device="cpu", residency="device",
            prepare=preprocessing.prepare,
        )  # fmt: skip
        batches = stream.batches()
        while True:
            yield islice(batches, num_images // SMALL_BATCH)
    while True:
        order = torch.randperm(len(store))[: num_images - num_images % BATCH]
        yield InOrder(
            SubsetStore(store, "train", order), batch_size=BATCH, device="cpu",
            residency="mapped", prepare=preprocessing.prepare,
        )  # fmt: skip


def torchvision_pass(root: Path, num_workers: int) -> Pass:
    """ImageFolder, Resize 256, RandomCrop 224, flip, ToTensor, Normalize, DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = [transforms.Resize(256), transforms.RandomCrop(224), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize([0.485] * 3, [0.225] * 3)]
    images = datasets.ImageFolder(str(root / "train"), transforms.Compose(steps))
    loader: DataLoader = DataLoader(
        images, BATCH, shuffle=True, num_workers=num_workers, drop_last=True
    )
    return lambda: sum(len(labels) for _, labels in loader)


def timm_pass(root: Path, num_workers: int) -> Pass:
    """timm's ImageDataset and create_loader, with random crop and flip as in its training."""
    from timm.data import ImageDataset, create_loader

    loader = create_loader(
        ImageDataset(str(root / "train")), (3, 224, 224), BATCH, is_training=True,
        num_workers=num_workers, use_prefetcher=False, persistent_workers=False,
        color_jitter=None, interpolation="bilinear",
    )  # fmt: skip
    return lambda: sum(len(labels) for _, labels in loader)


def small_dataloader_pass(store: Store, num_workers: int, num_images: int) -> Pass:
    """Fashion-MNIST through PIL transforms and a DataLoader, as PyTorch's examples show."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    class Clothes(datasets.VisionDataset):
        def __init__(self) -> None:
            super().__init__("")
            self.images = store.read(torch.arange(num_images))[..., 0].numpy()
            self.labels = store.labels[:num_images].tolist()
            steps = [transforms.Pad(2), transforms.RandomCrop(32, padding=4)]
            steps += [transforms.RandomHorizontalFlip(), transforms.ToTensor()]
            self.steps = transforms.Compose([*steps, transforms.Normalize([0.2], [0.3])])

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.steps(Image.fromarray(self.images[index])), self.labels[index]

    loader: DataLoader = DataLoader(Clothes(), SMALL_BATCH, shuffle=True, num_workers=num_workers)
    return lambda: sum(len(labels) for _, labels in loader)


def pillow_prepare_pass(root: Path, scratch: Path) -> Pass:
    """The hand-written loop: open, convert, resize, crop, copy, save."""

    def run() -> int:
        paths = sorted((root / "train").rglob("*.jpg"))
        out = np.empty((len(paths), 256, 256, 3), np.uint8)
        for place, path in enumerate(paths):
            picture = Image.open(path).convert("RGB")
            scale = 256 / min(picture.size)
            size = (round(picture.width * scale), round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.BILINEAR)
            left, top = (size[0] - 256) // 2, (size[1] - 256) // 2
            out[place] = np.asarray(picture.crop((left, top, left + 256, top + 256)))
        np.save(scratch / "pillow.npy", out)
        return len(paths)

    return run


def our_prepare_pass(root: Path, scratch: Path, num_threads: int) -> Pass:
    """All of `cnnlab prepare`: statistics, digests, syncing, manifest."""

    def run() -> int:
        output = scratch / f"prepared_with_{num_threads}"
        shutil.rmtree(output, ignore_errors=True)
        build_store(root, output, "uint8", num_threads)
        return sum(len(split) for split in (open_splits(output).train, open_splits(output).test))

    return run


def reading(root: Path, scratch: Path, num_images: int, cores: int) -> dict[str, Pass]:
    """Return the loaders of photographs, on one core or with as many threads and workers."""
    workers = 0 if cores == 1 else cores
    uint8, jpeg = scratch / "uint8", scratch / "jpeg"
    for output, encoding in ((uint8, "uint8"), (jpeg, "jpeg")):
        if not output.exists():
            build_store(root, output, encoding, cores)

    passes: dict[str, Pass] = {"torchvision ImageFolder": torchvision_pass(root, workers)}
    try:
        passes["timm create_loader"] = timm_pass(root, workers)
    except ImportError:
        print("timm is not installed: not measured")

    files = data.load(folder_config(root, cores)).train
    passes["cnnlab, originals"] = our_pass(files, 224, num_images, 256)
    passes["cnnlab, JPEG Store"] = our_pass(open_splits(jpeg, cores).train, 224, num_images, 256)
    passes["cnnlab, uint8 Store"] = our_pass(open_splits(uint8).train, 224, num_images, 256)
    return passes


def small_set(num_images: int) -> dict[str, Pass]:
    """Return the loaders of Fashion-MNIST with crop and mirror, on one core."""
    config = DownloadConfig(
        name="fashion_mnist", root=None, download=False, image_size_pixels=32, pad_pixels=2,
        num_validation=0, split_seed=0, channels=None, normalize="channel",
        permutation_seed=None, residency="auto",
    )  # fmt: skip
    store = data.load(config).train
    return {
        "DataLoader, 0 workers": small_dataloader_pass(store, 0, num_images),
        "DataLoader, 2 workers": small_dataloader_pass(store, 2, num_images),
        "cnnlab, resident": our_pass(store, 32, num_images, 32),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    parser = options(__doc__, rounds=3)
    parser.add_argument("--scratch", type=Path, default=Path("outputs/benchmark_data"))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--small-images", type=int, default=19_200)
    parser.add_argument("--only", choices=("read1", "read2", "small", "prepare"), nargs="*")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()

    torch.set_num_threads(1)
    keep_freed_memory()
    root = write_photographs(given.scratch / "photographs", given.images)
    size = sum(path.stat().st_size for path in (root / "train").rglob("*.jpg")) / given.images
    print(f"{given.images} photographs of {size / 1000:.0f} kB; {os.cpu_count()} cores")

    comparisons: dict[str, Callable[[], dict[str, Pass]]] = {
        "read1": lambda: reading(root, given.scratch, given.images, 1),
        "read2": lambda: reading(root, given.scratch, given.images, 2),
        "small": lambda: small_set(given.small_images),
        "prepare": lambda: {
            "Pillow loop": pillow_prepare_pass(root, given.scratch),
            "cnnlab prepare, 1 thread": our_prepare_pass(root, given.scratch, 1),
            "cnnlab prepare, 2 threads": our_prepare_pass(root, given.scratch, 2),
        },
    }

    for name in given.only or comparisons:
        rates = race(comparisons[name](), given.rounds)
        print("\n".join(table(name, rates)), flush=True)
        if given.json:
            record(given.json, name, rates)


if __name__ == "__main__":
    main()
