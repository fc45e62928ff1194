"""The training loops of others beside cnnlab on the same card: same images, weights and losses."""

import statistics
from collections.abc import Callable
from functools import partial

from cnnlab.trainer.assemble import Assembly
from scripts.gpu_day.rates import Advance, case_of, in_turns
from scripts.gpu_day.settings import Case, attempt, parts_of
from scripts.gpu_day.task import Task

Builders = dict[str, Callable[[], Advance]]

SAME_LOSSES = 2
"""Compared in the first epoch, before the images come in another order."""

PRECISIONS = {"fp32": 1e-3, "tf32": 1e-2}
"""In which all loops compute, and how far their first losses may be from ours. torch by itself
convolves in TF32 and multiplies in float32, which is between the two."""

SAME_WORK: Case = {
    "dataset.normalize": "channel",
    "optimizer.weight_decay": 0.0,
    "model.dropout": 0.0,
}
"""Without dropout, whose masks no two frameworks draw alike."""


def peers(task: Task) -> None:
    """Time torchvision's loop for AlexNet, and what is installed of the others for LeNet-5."""
    import alexnet  # all from scripts/benchmarks
    import lenet
    import peers
    from work import textbook_lenet5, work_of

    def torchvisions(parts: Assembly) -> Builders:
        work, network = work_of(parts), alexnet.NETWORKS[parts.config.model.name]
        return {alexnet.PEER: lambda: peers.reference_recipe(work, network)}

    def others(parts: Assembly) -> Builders:
        work = work_of(parts)
        names = [name for name in lenet.PEERS if lenet.installed(name)]
        return {name: partial(lenet.PEERS[name], work, textbook_lenet5) for name in names}

    few: Case = {"dataset.num_train": 512, "model.initialization": "kaiming"}
    digits: Case = {"dataset.num_train": 8192}
    if task.is_rehearsal:
        digits["dataset.num_train"] = 64
        compare(task, "lenet5", "fp32", digits, others)
        return
    compare(task, "alexnet_2014", "fp32", few, torchvisions)
    compare(task, "lenet5", "fp32", digits, others)
    compare(task, "alexnet", "fp32", few, torchvisions)
    compare(task, "alexnet_2014", "tf32", few, torchvisions)
    compare(task, "alexnet", "tf32", few, torchvisions)


def compare(
    task: Task,
    model: str,
    precision: str,
    few: Case,
    builders: Callable[[Assembly], Builders],
) -> None:
    """Note how many images a second each loop trains on, in batches of 128, in turns."""
    case = {**case_of(task, model, 128, precision), **SAME_WORK, **few}
    size = case["trainer.batch_size"]

    def measure(given: Case) -> None:
        loops = loops_of(task, given, builders)
        seconds, _ = in_turns(task, loops)

        for name, found in seconds.items():
            rate = size / statistics.median(found)
            pairs = zip(found, seconds["cnnlab"], strict=True)
            ratio = statistics.median(theirs / ours for theirs, ours in pairs)
            told = f"{rate:>10,.0f} images/s, {ratio:.2f} of cnnlab's time"
            task.note(
                f"{model:<14}{size:>5} {precision} {name:<28}{told}",
                model=model,
                batch_size=size,
                precision=precision,
                loop=name,
                images_per_second=rate,
                seconds_over_cnnlab=ratio,
            )

    told = f"peers of {model} in {precision}"
    if task.has_time(8, told):
        attempt(task, told, measure, case)


def loops_of(
    task: Task, case: Case, builders: Callable[[Assembly], Builders]
) -> dict[str, Advance]:
    """Return our loop and those of the peers that can be built and compute our first losses."""
    import ours  # from scripts/benchmarks

    tolerance = PRECISIONS[case["runtime.precision"]]
    loops: dict[str, Advance] = {"cnnlab": ours.whole_training(parts_of(task, case))}
    wanted = loops["cnnlab"](SAME_LOSSES)[1]

    def add(named: tuple[str, Callable[[], Advance]]) -> None:
        name, build = named
        loop = build()
        found = loop(SAME_LOSSES)[1]
        apart = max(abs(a - b) / abs(b) for a, b in zip(found, wanted, strict=True))
        task.check(f"{name} computes our losses", apart < tolerance, relative_difference=apart)
        if apart < tolerance:
            loops[name] = loop

    for named in builders(parts_of(task, case)).items():
        attempt(task, named[0], add, named)
    return loops
