"""What single operations of the networks cost on the GPU, and where the time of a step goes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab import images as pixels
from cnnlab import runtime
from cnnlab.models.normalization import LocalResponseNorm, across_maps
from cnnlab.runtime import select_device
from cnnlab.trainer.throughput import Stopwatch
from cnnlab.training.loop import TrainState
from scripts.gpu_day.rates import case_of
from scripts.gpu_day.settings import attempt, parts_of
from scripts.gpu_day.task import Task

Operation = Callable[[], object]
ALPHA = 1e-4


def operators(task: Task) -> None:
    """Time each operation in bf16, the median of device events; those that compile come last."""
    device = select_device(task.device)
    runtime.configure(device, precision="bf16")
    batch = 2 if task.is_rehearsal else 128
    groups: tuple[Callable[[int, torch.device], dict[str, Operation]], ...] = (
        normalization,
        first_convolution,
        grouped_convolution,
        crops,
        copies,
    )

    def measure(make: Callable[[int, torch.device], dict[str, Operation]]) -> None:
        for name, operation in make(batch, device).items():
            if task.has_time(2, name):
                attempt(task, name, lambda it: one(task, device, *it), (name, operation, batch))

    for make in groups:
        attempt(task, make.__name__, measure, make)
    if task.has_time(3, "update"):
        attempt(task, "update", lambda _: updates(task, device), None)
    if not task.is_rehearsal and task.has_time(15, "fused normalization"):
        attempt(task, "fused normalization", measure, fused_normalization)


def one(task: Task, device: torch.device, name: str, operation: Operation, batch: int) -> None:
    """Note the milliseconds of one operation."""
    for _ in range(0 if task.is_rehearsal else 3):
        operation()
    milliseconds = 1e3 * Stopwatch(device).median(operation, 3 if task.is_rehearsal else 21)
    task.note(f"{name:<44}{milliseconds:>9.3f} ms", operation=name, ms=milliseconds, batch=batch)


def maps_like(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return random maps in channels_last order that want a gradient: bf16, on a CPU float32."""
    maps = torch.randn(shape, device=device, dtype=dtype_on(device))
    return maps.to(memory_format=torch.channels_last).requires_grad_()


def dtype_on(device: torch.device) -> torch.dtype:
    """Return the type to compute in; some of torch's layers have no bf16 on a CPU."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def there_and_back(layer: Callable[[Tensor], Tensor], maps: Tensor) -> Operation:
    """Return the forward and the backward pass of one layer; a parameter's gradient grows."""
    gradients: list[Tensor] = []  # made in the first run, where an error belongs to this layer

    def run() -> None:
        maps.grad = None
        output = layer(maps)
        if not gradients:
            gradients.append(torch.ones_like(output))
        output.backward(gradients[0])

    return run


def normalization(batch: int, device: torch.device) -> dict[str, Operation]:
    """Return response normalization of both layers of 2012, ours and torch's."""
    found: dict[str, Operation] = {}
    for shape in ((batch, 96, 55, 55), (batch, 256, 27, 27)):
        maps, where = maps_like(shape, device), f"{shape[1]}x{shape[2]}x{shape[3]}"
        found[f"normalization {where}, cnnlab"] = there_and_back(LocalResponseNorm(5, ALPHA), maps)
        theirs = nn.LocalResponseNorm(5, 5 * ALPHA, 0.75, 2.0)  # divides alpha by its window
        found[f"normalization {where}, torch"] = there_and_back(theirs, maps)
    return found


def fused_normalization(batch: int, device: torch.device) -> dict[str, Operation]:
    """Return the same as one expression through torch.compile."""
    fused = torch.compile(across_maps, dynamic=False)

    def layer(maps: Tensor) -> Tensor:
        return fused(maps.float()[:, None], 5, ALPHA, 0.75, 2.0)[:, 0].to(maps.dtype)

    return {
        f"normalization {c}x{s}x{s}, compiled": there_and_back(
            layer, maps_like((batch, c, s, s), device)
        )
        for c, s in ((96, 55), (256, 27))
    }


def first_convolution(batch: int, device: torch.device) -> dict[str, Operation]:
    """Return conv1 as it is, with a fourth channel of zeros, and on blocks of 4 x 4 pixels.

    The blocks turn 3 channels at stride 4 into 48 at stride 1; the 11 x 11 kernels become 3 x 3.
    """
    images = maps_like((batch, 3, 227, 227), device).detach()
    padded = F.pad(images, (0, 0, 0, 0, 0, 1))
    blocks = F.pixel_unshuffle(F.pad(images, (0, 1, 0, 1)), 4)
    found: dict[str, Operation] = {}
    for name, maps, kernel, stride in (
        ("3 channels", images, 11, 4),
        ("4 channels", padded, 11, 4),
        ("blocks of 4 x 4", blocks, 3, 1),
    ):
        layer = nn.Conv2d(maps.shape[1], 96, kernel, stride)
        layer.to(device, dtype_on(device), memory_format=torch.channels_last)
        maps = maps.contiguous(memory_format=torch.channels_last)
        gradient = torch.ones_like(layer(maps))
        found[f"conv1, {name}"] = weights_only(layer, maps, gradient)
    return found


def weights_only(layer: nn.Module, maps: Tensor, gradient: Tensor) -> Operation:
    """Return forward and backward of a layer whose input needs no gradient."""

    def run() -> None:
        for weight in layer.parameters():
            weight.grad = None
        layer(maps).backward(gradient)

    return run


def grouped_convolution(batch: int, device: torch.device) -> dict[str, Operation]:
    """Return conv2 of the two towers as one grouped convolution and as two halves."""
    maps = maps_like((batch, 96, 27, 27), device)
    layers = [nn.Conv2d(96, 256, 5, padding=2, groups=2)]
    layers += [nn.Conv2d(48, 128, 5, padding=2) for _ in range(2)]
    for layer in layers:
        layer.to(device, dtype_on(device), memory_format=torch.channels_last)
    grouped, *halves = layers

    def in_halves(whole: Tensor) -> Tensor:
        parts = zip(halves, whole.chunk(2, 1), strict=True)
        return torch.cat([half(part) for half, part in parts], 1)

    return {
        "conv2, groups=2": there_and_back(grouped, maps),
        "conv2, two halves": there_and_back(in_halves, maps),
    }


def crops(batch: int, device: torch.device) -> dict[str, Operation]:
    """Return random crops of 224 of 256 pixels, half of them reflected, in two ways.

    The rows of all images as one view, which at 128 images has more numbers than 32 bits count; and
    eight images at a time.
    """
    images = torch.zeros(batch, 256, 256, 3, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    corners = torch.randint(0, 33, (batch, 2), device=device)
    flags = torch.arange(batch, device=device) % 2 == 0

    def one_by_one() -> Tensor:
        parts = zip(images.split(8), corners.split(8), flags.split(8), strict=True)
        return torch.cat([pixels.crop(*part[:2], 224, part[2]) for part in parts])

    return {
        "crops, one view": lambda: pixels.crop(images, corners, 224, flags),
        "crops, eight images at a time": one_by_one,
    }


def copies(batch: int, device: torch.device) -> dict[str, Operation]:
    """Return copies of a batch of uint8 images to the device."""
    images = torch.zeros(batch, 227, 227, 3, dtype=torch.uint8)
    found: dict[str, Operation] = {"batch to the device, blocking": lambda: images.to(device)}
    if device.type == "cuda":
        pinned = images.pin_memory()
        found["batch to the device, pinned"] = lambda: pinned.to(device, non_blocking=True)
    return found


def updates(task: Task, device: torch.device) -> None:
    """Note the milliseconds of an update of the dense network's weights, by each rule."""
    for rule in ("sgd", "sgd_2012"):
        case = case_of(task, "alexnet", 8, "fp32", optimizer=rule, **{"dataset.num_train": 64})
        parts = parts_of(task, case)
        parts.step(TrainState(parts.network.train(), parts.optimizer), *next(parts.batches()))
        one(task, device, f"update of the dense network, {rule}", parts.optimizer.step, 0)


def traces(task: Task) -> None:
    """Note which kernels take the time of a step of the dense network and of LeNet-5."""
    for model, precision in (("alexnet", "bf16"), ("lenet5", "fp32")):
        if task.has_time(6, model):
            attempt(task, model, lambda it: trace(task, *it), (model, precision))


def trace(task: Task, model: str, precision: str) -> None:
    """Note the operations of ten steps that take the most time of their own."""
    from torch.profiler import ProfilerActivity, profile

    parts = parts_of(task, case_of(task, model, 128, precision))
    state = TrainState(parts.network.train(), parts.optimizer)
    images, labels = next(parts.batches())
    on_gpu = parts.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]

    number = 2 if task.is_rehearsal else 10
    for _ in range(3):
        parts.step(state, images, labels)
    with profile(activities=kinds) as found:
        for _ in range(number):
            parts.step(state, images, labels)
        if on_gpu:
            torch.cuda.synchronize(parts.device)

    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    rows = sorted(found.key_averages(), key=lambda row: -getattr(row, own))
    for row in rows[:12]:
        milliseconds = getattr(row, own) / 1e3 / number
        facts = {"model": model, "ms_per_step": milliseconds, "calls": row.count / number}
        task.note(
            f"{model:<8}{row.key[:60]:<62}{milliseconds:>8.3f} ms", operation=row.key, **facts
        )
