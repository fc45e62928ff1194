"""Which network answered: its run, its checkpoint, and when that was written."""

from typing import Any

from cnnlab.config.ema import RAW
from cnnlab.inference.network import StoredNetwork
from cnnlab.run_folder import RunFolder


def facts_of(network: StoredNetwork) -> dict[str, Any]:
    """Return what JSON says of a network; `run` is None for a file outside a run folder."""
    folder = network.path.parent
    in_run = RunFolder(folder.parent).checkpoints == folder
    step = network.document.get("step")
    return {
        "checkpoint": str(network.path),
        "run": str(folder.parent) if in_run else None,
        "model": str(network.config["model"]["name"]),
        "dataset": str(network.config["dataset"]["name"]),
        "step": step if isinstance(step, int) else None,
        "which_weights": network.which_weights,
    }


def title_of(network: StoredNetwork) -> str:
    """Return 'lenet5 trained on mnist5k, step 1,100'; averaged weights are named."""
    facts = facts_of(network)
    words = [f"{facts['model']} trained on {facts['dataset']}"]
    if facts["step"] is not None:
        words.append(f"step {facts['step']:,}")
    if facts["which_weights"] != RAW:
        words.append(f"{facts['which_weights']} weights")
    return ", ".join(words)
