"""Images per second: training in each precision beside its bare step, evaluation, residencies."""

import concurrent.futures
import multiprocessing
import os
import statistics
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

from cnnlab.evaluation.evaluate import evaluate
from cnnlab.runtime import forward_precision
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.throughput import Stopwatch
from cnnlab.training.captured import NUM_EAGER
from cnnlab.training.loop import TrainState
from scripts.gpu_day.correctness import first_losses
from scripts.gpu_day.settings import NARROW, NOISE, Case, attempt, parts_of
from scripts.gpu_day.task import Task

AT_224: Case = {**NOISE, "dataset.image_size_pixels": 224, "dataset.num_train": 4096}
DIGITS: Case = {**NOISE, "dataset.channels": 1, "dataset.num_train": 60_000}
MODELS: dict[str, Case] = {
    "alexnet_2014": {**AT_224, "model": "alexnet_2014"},
    "alexnet_two_tower": {**AT_224, "model": "alexnet_two_tower"},
    "alexnet": {**AT_224, "model": "alexnet"},
    "lenet5": {**DIGITS, "model": "lenet5"},
}
REHEARSED: Case = {"dataset.image_size_pixels": 64, "dataset.num_train": 64}

Advance = Callable[[int], tuple[float, list[float]]]
"""num_steps -> (seconds that these steps took, the loss of each)."""

ROUNDS = 5
WARM_UP_STEPS = 5
MOST_STEPS = 200


def case_of(task: Task, model: str, batch_size: int, precision: str, **more: object) -> Case:
    """Return the settings of one measurement; in a rehearsal of a narrow network, eight images."""
    case = {**MODELS[model], "runtime.precision": precision, **more}
    if not task.is_rehearsal:
        return {**case, "trainer.batch_size": batch_size}
    narrow = {**NARROW, **REHEARSED} if model != "lenet5" else {"dataset.num_train": 64}
    return {**case, **narrow, "trainer.batch_size": 8}


def training(task: Task) -> None:
    """Time a whole training and its bare step, in turns, of each network, batch and precision."""
    if task.is_rehearsal:
        grid = [(model, 8, "fp32") for model in MODELS]
    else:
        grid = [
            (model, batch_size, precision)
            for precision in ("bf16", "fp32", "tf32")
            for batch_size in (128, 1024)
            for model in MODELS
        ]
    for model, batch_size, precision in grid:
        name = f"{model:<18}{batch_size:>5} {precision}"
        if task.has_time(8, name):
            case = case_of(task, model, batch_size, precision)
            attempt(task, name, lambda it: beside_bare(task, *it), (name, case))


def beside_bare(task: Task, name: str, case: Case) -> None:
    """Time `cnnlab train` with all its hooks, and the same step in a bare loop."""
    import ours  # from scripts/benchmarks

    parts = parts_of(task, case)
    loops = {"cnnlab": ours.whole_training(parts), "bare": ours.bare_step(parts)}
    seconds, steps = in_turns(task, loops)

    size = case["trainer.batch_size"]
    rates = {loop: size / statistics.median(found) for loop, found in seconds.items()}
    pairs = zip(seconds["cnnlab"], seconds["bare"], strict=True)
    over = statistics.median(whole / bare for whole, bare in pairs)
    event = step_seconds(parts)

    task.note(
        f"{name}{rates['cnnlab']:>10,.0f} images/s, bare step {rates['bare']:,.0f}, "
        f"cnnlab/bare {over:.3f} in time, one batch again {size / event:,.0f}",
        model=case["model"],
        batch_size=size,
        precision=case["runtime.precision"],
        images_per_second=rates["cnnlab"],
        bare_images_per_second=rates["bare"],
        seconds_over_bare=over,
        step_milliseconds=1e3 * event,
        steps_per_turn=steps,
        peak_memory_bytes=peak_bytes(parts.device),
    )


def in_turns(task: Task, loops: Mapping[str, Advance]) -> tuple[dict[str, list[float]], int]:
    """Return the seconds per step of each loop, round by round, and how many steps a round has."""
    steps = max([num_steps(task, loop) for loop in loops.values()])
    seconds: dict[str, list[float]] = {name: [] for name in loops}

    for index in range(2 if task.is_rehearsal else ROUNDS):
        for name in list(loops)[:: 1 if index % 2 == 0 else -1]:  # a drift affects all alike
            seconds[name].append(loops[name](steps)[0] / steps)
    return seconds, steps


def num_steps(task: Task, advance: Advance) -> int:
    """Warm a loop up; return how many of its steps make a turn of a quarter of a second."""
    advance(WARM_UP_STEPS)
    seconds = advance(WARM_UP_STEPS)[0] / WARM_UP_STEPS
    wanted = 0.02 if task.is_rehearsal else 0.25
    return max(2, min(MOST_STEPS, round(wanted / seconds)))


def step_seconds(parts: Assembly) -> float:
    """Return the median seconds of an update from one batch that stays on the device."""
    images, labels = next(parts.batches())
    state = TrainState(parts.network.train(), parts.optimizer)

    def step() -> None:
        parts.step(state, images, labels)

    if parts.update.capturing.make is not None:
        for _ in range(2 * NUM_EAGER + 2):  # until its gradients and its update are captured
            step()
    return Stopwatch(parts.device).median(step)


def peak_bytes(device: torch.device) -> int | None:
    """Return the most memory that tensors took on a GPU since the last case."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def compiled(task: Task) -> None:
    """Compile the training steps in parallel, then time them one by one."""
    order = ("alexnet_two_tower", "alexnet", "alexnet_2014", "lenet5")
    grid = [(model, size) for size in (128, 1024) for model in order]
    cases = [
        (f"{m:<18}{s:>5} bf16 compiled", case_of(task, m, s, "bf16", **COMPILED)) for m, s in grid
    ]
    if task.is_rehearsal:
        cases = [("lenet5", case_of(task, "lenet5", 8, "fp32", **COMPILED))]
    else:
        fill_cache(task, [case for _, case in cases], seconds=0.5 * task.left())

    for name, case in cases:
        if task.has_time(15, name):
            attempt(task, name, lambda named: time_step(task, *named), (name, case))


COMPILED: Case = {"runtime.compile": True}
SWITCHES = ("compile", "capture", "kernels", "fused_update")
"""Of `runtime`, noted with the rate of a step."""


def fill_cache(task: Task, cases: list[Case], seconds: float) -> None:
    """Compile each step in a process of its own; what is not ready in time is compiled later."""
    workers = max(1, min(len(cases), (os.cpu_count() or 2) // 2))
    spawn = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, spawn)
    futures = [pool.submit(compile_once, task, case) for case in cases]
    done = concurrent.futures.wait(futures, timeout=seconds).done
    failures = [str(error)[:200] for each in done if (error := each.exception()) is not None]

    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)
    task.note(compiled_ahead=len(done) - len(failures), cases=len(cases), failures=failures)


def compile_once(task: Task, case: Case) -> None:
    """Make one update, so that Inductor's cache on disk has its kernels."""
    parts = parts_of(task, case)
    parts.step(TrainState(parts.network.train(), parts.optimizer), *next(parts.batches()))


def time_step(task: Task, name: str, case: Case) -> None:
    """Note how fast one step is on a batch that stays on the device."""
    parts = parts_of(task, case)
    size, seconds = case["trainer.batch_size"], step_seconds(parts)
    switches = {key: value for key, value in vars(parts.config.runtime).items() if key in SWITCHES}
    task.note(
        f"{name}{size / seconds:>10,.0f} images/s",
        model=case["model"],
        batch_size=size,
        precision=case["runtime.precision"],
        **switches,
        step_milliseconds=1e3 * seconds,
        images_per_second=size / seconds,
    )


def evaluation(task: Task) -> None:
    """Time one view and ten views of whole test sets."""
    crops: Case = {"dataset.image_size_pixels": 256, "augment": "crop_mirror"}
    number, crop = (16, 64) if task.is_rehearsal else (4096, 224)
    crops |= {
        "augment.padding_pixels": 0,
        "dataset.num_test": number,
        "dataset.num_train": 64,
        "augment.crop_pixels": crop,
    }
    if task.is_rehearsal:
        crops["dataset.image_size_pixels"] = 72

    for model in ("alexnet_two_tower", "alexnet_2014"):
        for precision in ("fp32", "bf16"):
            for views in ("ten_view", "center"):
                name = f"{model} {precision} {views}"
                case = {**case_of(task, model, 64, precision), **crops}
                if task.has_time(6, name):
                    attempt(task, name, lambda it: time_views(task, *it), (name, case, views))


def time_views(task: Task, name: str, case: Case, views: str) -> None:
    """Note how many images a second are evaluated, reading from memory and counting included."""
    parts = parts_of(task, case)
    store, member = parts.splits.test, parts.member(views)
    batches, precision = parts.in_order(store), case["runtime.precision"]

    casts: Callable[[], AbstractContextManager[object]] = nullcontext
    if not parts.config.runtime.fast_evaluation:  # which casts by itself
        casts = forward_precision(precision, parts.device)

    def score() -> None:
        with casts():
            evaluate([member], batches, num_classes=len(store.class_names))

    seconds = Stopwatch(parts.device).median(score, repeats=3)
    task.note(
        f"{name:<36}{len(store) / seconds:>10,.0f} images/s",
        model=case["model"],
        precision=precision,
        views=views,
        images_per_second=len(store) / seconds,
    )


def residency(task: Task) -> None:
    """Time a training whose pixels are on the device, on the host, and read batch by batch."""
    import ours  # from scripts/benchmarks

    def time_loop(given: tuple[str, str]) -> None:
        name, where = given
        case = case_of(task, "alexnet_2014", 1024, "bf16", **{"dataset.residency": where})
        loop = ours.whole_training(parts_of(task, case))
        steps = num_steps(task, loop)
        found = statistics.median(loop(steps)[0] / steps for _ in range(3))
        rate = case["trainer.batch_size"] / found
        facts = {"model": case["model"], "residency": where, "images_per_second": rate}
        task.note(f"{name:<30}{rate:>10,.0f} images/s", **facts)

    for where in ("device", "host", "mapped"):
        name = f"alexnet_2014 1024 bf16 {where}"
        if task.has_time(5, name):
            attempt(task, name, time_loop, (name, where))


def two_devices(task: Task) -> None:
    """Compare the 2012 network on two devices with the same network on one: losses and rates."""
    split: Case = {"model": "alexnet_two_gpu", "model.devices": ["cuda:0", "cuda:1"]}
    small: Case = {**case_of(task, "alexnet_two_tower", 16, "fp32"), "model.dropout": 0.0}
    one, two = first_losses(task, small), first_losses(task, {**small, **split})
    apart = max(abs(a - b) / abs(b) for a, b in zip(two, one, strict=True))
    same = "two devices compute the losses of one"
    task.check(same, apart < 0.003, relative_difference=apart, losses=two)

    for size in (128, 1024):
        for name, case in (("two devices", split), ("one device", {})):
            case = {**case_of(task, "alexnet_two_tower", size, "bf16"), **case}
            words = (f"{name:<12}{size:>5} bf16", case)
            if task.has_time(5, words[0]):
                attempt(task, words[0], lambda named: time_step(task, *named), words)
