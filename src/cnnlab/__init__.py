"""LeNet and AlexNet in PyTorch: train, evaluate and visualize them from one command line.

Reading order: trainer/assemble.py shows how the parts fit; then along the data's way data/ (store,
stream, augment), preprocessing.py, models/ (network, lenet5, alexnet), training/ (loop, steps),
evaluation/ (views, evaluate, metrics), visualization/ (deconvnet); then what keeps a run safe,
checkpoint.py and run_folder/; at last config/ and command/, which turn words into all of this.

Letters in shapes: N images, V views, C channels, H and W pixels, S the side of a square, K classes.
"""

from cnnlab import starting

if starting.is_command():
    starting.begin()  # before anything else is imported

from typing import Any

__version__ = "0.1.0"


def load(path: Any, device: str = "auto", which_weights: str | None = None) -> Any:
    """Load a checkpoint, a run folder, `latest`, or a list of them (an ensemble) as a predictor.

    `cnnlab.load("latest").predict(images)` takes uint8 arrays, tensors or PIL images and returns
    class names with probabilities. which_weights: raw, or ema, their moving average; None: those
    that the training judged. Nothing heavy is imported before the first call.
    """
    from cnnlab.config.tables import load_by_name

    return load_by_name("cnnlab.inference.predictor:load")(path, device, which_weights)
