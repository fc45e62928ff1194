"""cnnlab."""

import importlib
from typing import Any

__version__ = "0.1.0"


def load(path: Any, device: str = "auto") -> Any:
    """Open a checkpoint, a run folder, `latest`, or a list of them, as something that predicts.

    `cnnlab.load("latest").predict(images)` takes uint8 arrays, tensors or PIL images and returns
    class names with probabilities. Nothing heavy is imported before the first call.
    """
    return importlib.import_module("cnnlab.app.prediction").load(path, device)
