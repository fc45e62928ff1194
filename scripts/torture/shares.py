"""What share of an epoch a save takes."""

import json
import statistics
from pathlib import Path
from typing import Any

from cnnlab import checkpoint
from scripts.torture import command, figures


def save_share(folder: Path) -> dict[str, Any]:
    """Compare a LeNet-5 save with an epoch of 60,000 images at the rate of a run on mnist5k."""
    words = ("train", "trainer.epochs=3", "runtime.device=cpu", "logging.report=false")
    outcome = command.call(*words, "logging.progress=false", f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.errors

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line).get("speed/images_per_second") for line in lines]
    rate = max(rate for rate in rates if rate)

    content = checkpoint.read(folder / "checkpoints" / "last.safetensors")
    path = folder / "again.safetensors"
    times = [
        figures.seconds(lambda: checkpoint.write(path, content.tensors, content.document))
        for _ in range(20)
    ]
    save = statistics.median(times)

    return {
        "lenet5_save_milliseconds": round(1000 * save, 2),
        "lenet5_images_per_second": round(rate),
        "save_share_of_an_epoch_of_60000_images": round(save / (60_000 / rate), 5),
    }
