"""LeNet and AlexNet in PyTorch: train, evaluate and visualize them from the command line or Python.

`cnnlab.train`, `evaluate`, `predict`, `load`, `build_model`, `datasets` and `fit` are the commands
as functions (docs/python.md). What `__all__` names is public; it is imported when it is used.

Reading order: trainer/assemble.py shows how the parts fit; then along the data's way data/ (store,
stream, augment), preprocessing.py, models/ (network, lenet5, alexnet), training/ (loop, steps),
evaluation/ (views, evaluate, metrics), visualization/ (deconvnet); then what keeps a run safe,
checkpoint.py and run_folder/; at last config/ and command/, which turn words into all of this.

Letters in shapes: N images, V views, C channels, H and W pixels, S the side of a square, K classes.
"""

from cnnlab import starting

if starting.is_command():
    starting.begin()  # before anything else is imported

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnlab.errors import (
        BusyError,
        CheckpointError,
        CnnlabError,
        DataError,
        Interrupted,
        NumericsError,
        PeerLostError,
        ResourceError,
        UsageError,
    )
    from cnnlab.face.evaluations import Evaluation, evaluate
    from cnnlab.face.fitting import History, fit
    from cnnlab.face.image_sets import ImageSet, ImageSets, datasets
    from cnnlab.face.networks import build_model
    from cnnlab.face.pictures import predict
    from cnnlab.face.runs import Run, train
    from cnnlab.inference.predictor import Predictions, Predictor, load

__version__ = "0.1.0"

__all__ = [
    "BusyError",
    "CheckpointError",
    "CnnlabError",
    "DataError",
    "Evaluation",
    "History",
    "ImageSet",
    "ImageSets",
    "Interrupted",
    "NumericsError",
    "PeerLostError",
    "Predictions",
    "Predictor",
    "ResourceError",
    "Run",
    "UsageError",
    "__version__",
    "build_model",
    "datasets",
    "evaluate",
    "fit",
    "load",
    "predict",
    "train",
]

_HOMES = {
    "cnnlab.errors": (
        *("BusyError", "CheckpointError", "CnnlabError", "DataError", "Interrupted"),
        *("NumericsError", "PeerLostError", "ResourceError", "UsageError"),
    ),
    "cnnlab.face.evaluations": ("Evaluation", "evaluate"),
    "cnnlab.face.fitting": ("History", "fit"),
    "cnnlab.face.image_sets": ("ImageSet", "ImageSets", "datasets"),
    "cnnlab.face.networks": ("build_model",),
    "cnnlab.face.pictures": ("predict",),
    "cnnlab.face.runs": ("Run", "train"),
    "cnnlab.inference.predictor": ("Predictions", "Predictor", "load"),
}
"""Where each public name is defined."""


if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used."""
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module 'cnnlab' has no attribute '{name}'")

        from cnnlab.config.tables import load_by_name

        value = globals()[name] = load_by_name(f"{home}:{name}")
        return value


def __dir__() -> list[str]:
    """Return the public names, for completion in a notebook."""
    return sorted(__all__)
