"""What a GPU computes otherwise: first whether it is right, then what it is worth.

Captured steps, Triton's kernels, the update in one pass, fast evaluation, several readers, and
JPEGs decoded on the device: five sections, as an error of the device ends a process. A rehearsal on
a CPU checks what a CPU can run of it.
"""

import functools
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnlab.config.tables import load_by_name
from cnnlab.data.device_jpeg import decode_on
from cnnlab.data.jpeg import decode_jpeg, encode_jpeg
from cnnlab.data.readers import Ring, in_order
from cnnlab.data.store import ArrayStore
from cnnlab.geometry import Window
from cnnlab.models.kernels import KERNELS
from cnnlab.models.layers import max_pool
from cnnlab.models.normalization import LocalResponseNorm
from cnnlab.runtime import select_device
from cnnlab.trainer.throughput import Stopwatch
from cnnlab.training.loop import Hook, TrainState, fit
from scripts.gpu_day.correctness import AT_64, NETWORKS
from scripts.gpu_day.rates import case_of, time_step, time_views
from scripts.gpu_day.settings import NARROW, Case, attempt, parts_of
from scripts.gpu_day.task import Task

NUM_STEPS = 12
EAGER: Case = {"runtime.capture": False}
CAPTURED: Case = {"runtime.capture": True}
LEAN: Case = {**CAPTURED, "runtime.kernels": "triton"}
MEAN_LEVELS, MOST_OF_99 = 2.0, 24
"""Between JPEGs decoded by the device and by the host: on average, and for 99 of 100 numbers."""


Check = tuple[str, Callable[[Task], None], bool]
"""A name, what is done, and whether a CPU can do it in a rehearsal."""


def graphs(task: Task) -> None:
    """Check captured steps."""
    run_all(
        task,
        ("captured steps", captured_steps, False),
        ("captured steps whose images are read meanwhile", captured_while_read, False),
    )


def kernels(task: Task) -> None:
    """Check and time Triton's normalization and pooling."""
    run_all(task, ("Triton's kernels", normalization_and_pooling, False))


def reading(task: Task) -> None:
    """Check and time several readers."""
    run_all(task, ("readers", readers, True))


def decoding(task: Task) -> None:
    """Check and time JPEGs decoded on the device."""
    run_all(task, ("JPEGs on the device", jpegs, True))


def lean(task: Task) -> None:
    """Check the update in one pass, and time all switches of a training together."""
    run_all(
        task,
        ("one pass of the update", one_pass, True),
        ("rates of lean steps", lean_rates, False),
        ("rates of fast evaluations", lean_evaluation, False),
    )


def run_all(task: Task, *checks: Check) -> None:
    """Run the checks for which there is time, and a device; one that raises is noted."""
    for name, check, on_cpu in checks:
        if (on_cpu or task.device != "cpu") and task.has_time(4, name):
            attempt(task, name, check, task)


def reports(task: Task, case: Case) -> list[float]:
    """Return losses and gradient norms of the first updates."""
    parts = parts_of(task, case)
    state, found = TrainState(parts.network.train(), parts.optimizer), list[Tensor]()
    note: Hook = lambda state, report: found.extend((report.loss, report.gradient_norm))  # noqa: E731
    fit(state, parts.batches(), parts.step, parts.schedule.rate_at, [note], NUM_STEPS)
    return [float(number) for number in found]


def one_pass(task: Task) -> None:
    """Check the update of 2012 in one pass against its two."""
    narrow = NARROW if task.is_rehearsal else {}
    case: Case = {**AT_64, **narrow, "model": "alexnet", "optimizer": "sgd_2012"}
    two, one = reports(task, case), reports(task, {**case, "runtime.fused_update": True})
    apart = max(abs(a - b) / abs(b) for a, b in zip(one, two, strict=True))
    task.check("the update in one pass is that in two", apart < 0.01, relative_difference=apart)


def captured_steps(task: Task) -> None:
    """Check that captured steps are the eager ones bit for bit, with dropout and short batches."""
    for name in ("lenet5", "alexnet_two_tower"):
        narrow = NARROW if task.is_rehearsal and name != "lenet5" else {}
        for rule in ("sgd", "sgd_2012"):
            case: Case = {**NETWORKS[name], **narrow, "optimizer": rule}
            case |= {"runtime.deterministic": True}
            case |= {"model.dropout": 0.5, "trainer.batch_size": 24}  # the last batch has 16
            eager, captured = reports(task, {**case, **EAGER}), reports(task, {**case, **CAPTURED})
            claim = f"{name}, {rule}: captured steps are the eager ones bit for bit"
            task.check(claim, captured == eager, captured=captured[-4:], eager=eager[-4:])


def captured_while_read(task: Task) -> None:
    """Check steps that are captured while other threads read images into pinned memory.

    Each batch size is captured at its fourth batch, when the reader is some batches ahead.
    """
    case: Case = {**NETWORKS["lenet5"], "dataset.residency": "mapped", "dataset.num_train": 256}
    case |= {"runtime.deterministic": True, "trainer.batch_size": 24}
    eager, captured = reports(task, {**case, **EAGER}), reports(task, {**case, **CAPTURED})
    task.check("so are steps whose images are read meanwhile", captured == eager)


def normalization_and_pooling(task: Task) -> None:
    """Check Triton's kernels against the plain ones at the sizes of 2012, and time both."""
    device = select_device(task.device)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2**-7)):
        for channels, side, groups in ((96, 55, 1), (256, 27, 2)):
            maps = (40 * torch.randn(128, channels, side, side, device=device)).to(dtype)
            maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()

            for what, layers in (("normalization", norms(groups)), ("pooling", pools())):
                name = f"{what} {channels}x{side}x{side}, {str(dtype)[6:]}"
                if task.has_time(3, name):
                    given = (name, maps, layers, tolerance)
                    attempt(task, name, lambda it: compare_kernels(task, *it), given)


def norms(groups: int) -> dict[str, nn.Module]:
    """Return the normalization by each kernel."""
    layers: dict[str, nn.Module] = {}
    for kernel, where in KERNELS.items():
        layers[kernel] = layer = LocalResponseNorm(5, 1e-4, groups=groups)
        layer.kernel = load_by_name(where.normalization)
    return layers


def pools() -> dict[str, nn.Module]:
    """Return max pooling by each kernel."""
    layers: dict[str, nn.Module] = {}
    for kernel, where in KERNELS.items():
        layers[kernel] = layer = max_pool(Window(3, stride=2))
        layer.kernel = None if where.pooling is None else load_by_name(where.pooling)
    return layers


def compare_kernels(
    task: Task, name: str, maps: Tensor, layers: dict[str, nn.Module], tolerance: float
) -> None:
    """Check and time the layers, one for each kernel, on these maps, there and back."""
    pull = torch.randn_like(layers["plain"](maps))

    def run(layer: nn.Module) -> list[Tensor]:
        output = layer(maps)
        return [output.detach(), *torch.autograd.grad(output, maps, pull)]

    found, milliseconds = [], {}
    for kernel, layer in layers.items():
        found.append(run(layer))
        seconds = Stopwatch(maps.device).median(functools.partial(run, layer))
        milliseconds[f"{kernel}_ms"] = 1e3 * seconds

    pairs = zip(*found, strict=True)
    apart = max(float((plain - other).abs().max() / plain.abs().max()) for plain, other in pairs)
    task.check(f"{name}: Triton's is the plain one's", apart < tolerance, apart=apart)
    told = ", ".join(f"{kernel} {value:.3f}" for kernel, value in milliseconds.items())
    task.note(f"{name:<40}{told}", operation=name, **milliseconds)


def pictures(number: int, side: int) -> Tensor:
    """Return uint8 [n,3,S,S] of soft shapes with fine noise, as JPEG compresses photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(number, 3, 8, 8, generator=generator)
    soft = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic")
    noise = torch.randn(number, 3, side, side, generator=generator)
    return (255 * soft + 6 * noise).round().clamp(0, 255).byte()


def jpegs(task: Task) -> None:
    """Check the device's pixels against the host's, and time both decoders."""
    number, side = (8, 64) if task.is_rehearsal else (256, 256)
    device = select_device(task.device)
    encoded = [encode_jpeg(picture, 90) for picture in pictures(number, side)]
    content = [torch.frombuffer(bytearray(each), dtype=torch.uint8) for each in encoded]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision calls its decoders deprecated
        there = decode_on(device, content, 3).cpu()
        seconds = Stopwatch(device).median(lambda: decode_on(device, content, 3), 5)

    here = torch.stack([decode_jpeg(each, 3) for each in encoded])
    apart = (there.int() - here.int()).abs().flatten().float()
    ninety_nine = int(apart.sort().values[int(0.99 * (len(apart) - 1))])
    task.check(
        f"JPEGs decoded there are within {MEAN_LEVELS:g} levels on average, 99 % within "
        f"{MOST_OF_99}",
        float(apart.mean()) <= MEAN_LEVELS and ninety_nine <= MOST_OF_99,
        mean=float(apart.mean()),
        of_99=ninety_nine,
        most=int(apart.max()),
    )
    rate = number / seconds
    task.note(f"JPEGs of {side} pixels on the device {rate:>10,.0f} images/s", decoded=rate)


def readers(task: Task) -> None:
    """Check the batches of several readers, and time how many images a second they bring."""
    number, side = (64, 32) if task.is_rehearsal else (2048, 256)
    device, labels = select_device(task.device), torch.zeros(number, dtype=torch.int64)
    pixels = torch.randint(0, 256, (number, side, side, 3), dtype=torch.uint8)
    store = ArrayStore("noise", "train", pixels, labels, ("one",), True)
    size = number // 8
    for num_readers in (1, 2, 4, 8):
        ring = Ring(store, lambda images: images, device, num_readers)
        batches = list(torch.randperm(number).split(size))
        found = [images.cpu() for images in in_order(iter(batches), ring.take, num_readers)]
        wanted = [store.read(indices).permute(0, 3, 1, 2) for indices in batches]
        alike = all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        task.check(f"{num_readers} readers bring every image", alike)

        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            for _ in in_order(iter(batches), ring.take, num_readers):
                pass
            seconds.append(time.perf_counter() - started)
        rate = number / statistics.median(seconds)
        task.note(f"{num_readers} readers of {side} pixels {rate:>10,.0f} images/s", readers=rate)


def lean_rates(task: Task) -> None:
    """Time captured steps, of the networks of 2012 with Triton's normalization."""
    for size in (128, 1024):
        for model in ("alexnet_two_tower", "alexnet_2014", "alexnet", "lenet5"):
            switches = CAPTURED if model in ("alexnet_2014", "lenet5") else LEAN
            name = f"{model:<18}{size:>5} bf16 lean"
            if task.has_time(5, name):
                case = case_of(task, model, size, "bf16", **switches)
                attempt(task, name, lambda named: time_step(task, *named), (name, case))


def lean_evaluation(task: Task) -> None:
    """Time one view and ten with a fast evaluation."""
    crops: Case = {"dataset.image_size_pixels": 256, "augment": "crop_mirror"}
    crops |= {"augment.padding_pixels": 0, "augment.crop_pixels": 224, "dataset.num_test": 4096}
    lean_too: Case = {**LEAN, "runtime.fast_evaluation": True}
    case = {**case_of(task, "alexnet_two_tower", 64, "bf16"), **crops, **lean_too}
    for views in ("ten_view", "center"):
        name = f"alexnet_two_tower bf16 {views} lean"
        if task.has_time(5, name):
            attempt(task, name, lambda it: time_views(task, *it), (name, case, views))
