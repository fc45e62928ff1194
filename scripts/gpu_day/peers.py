"""The training loops of others beside cnnlab on the same card: same images, weights and losses."""

from collections.abc import Callable
from typing import Any

from cnnlab.trainer.assemble import Assembly
from scripts.gpu_day.rates import case_of, in_turns
from scripts.gpu_day.settings import Case, attempt, parts_of
from scripts.gpu_day.task import Task

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

    def torchvisions(parts: Assembly) -> dict[str, Any]:
        network = alexnet.NETWORKS[parts.config.model.name]
        return {alexnet.PEER: peers.reference_recipe(work_of(parts), network)}

    def others(parts: Assembly) -> dict[str, Any]:
        work = work_of(parts)
        names = [name for name in lenet.PEERS if lenet.installed(name)]
        return {name: lenet.PEERS[name](work, textbook_lenet5) for name in names}

    few: Case = {"dataset.num_train": 512, "model.initialization": "kaiming"}
    digits: Case = {"dataset.num_train": 8192}
    if task.is_rehearsal:
        few["dataset.num_train"] = digits["dataset.num_train"] = 64
    else:
        compare(task, "alexnet_2014", 128, few, torchvisions)
        compare(task, "alexnet", 128, few, torchvisions)
    compare(task, "lenet5", 128, digits, others)


def compare(
    task: Task,
    model: str,
    batch_size: int,
    few: Case,
    built: Callable[[Assembly], dict[str, Any]],
) -> None:
    """Note how many images a second each loop trains on, in float32, in turns."""
    import ours
    import timing

    def measure(given: Case) -> None:
        ours_loop = ours.whole_training(parts_of(task, given))
        loops = {"cnnlab": ours_loop, **built(parts_of(task, given))}
        # in the first epoch, before the images come in another order
        found = timing.compare(loops, num_steps=1, rounds=0, same_losses=2)
        found.seconds.update(in_turns(task, loops)[0])

        for loop in loops:
            row = found.row(loop, "cnnlab", batch_size)
            task.note(
                f"{model:<14}{batch_size:>5} fp32 {loop:<28}{row['images_per_second']:>10,.0f} "
                f"images/s, {row['ratio_to_ours']['median']:.2f} of cnnlab's time",
                **{"model": model, "loop": loop, **row},
            )

    case = {**case_of(task, model, batch_size, "fp32"), **SAME_WORK, **few}
    batch_size = case["trainer.batch_size"]
    if task.has_time(8, f"peers of {model}"):
        attempt(task, f"peers of {model}", measure, case)
