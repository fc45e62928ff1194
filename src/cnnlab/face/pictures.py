"""`cnnlab.predict`: classify files, folders or arrays."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnnlab import session
from cnnlab.command import calling
from cnnlab.config import Launch, PredictConfig
from cnnlab.data.decode import BadImage
from cnnlab.data.pictures import picture_files, read_pictures
from cnnlab.errors import DataError
from cnnlab.inference.predictor import Predictions, Predictor, open_predictor

TAKEN = (
    *("checkpoint", "evaluation", "evaluation.", "runtime", "runtime.", "which_weights"),
    *("pictures", "plugins"),
)
"""Settings of the command; the others say how it prints."""


def predict(
    images: Any, *words: str, checkpoint: Any, skip_bad: bool = False, **settings: Any
) -> Predictions:
    """Classify images with a checkpoint, or with a list of them as an ensemble.

    images: a file, a folder or a list of them; uint8 arrays or tensors [H,W], [N,H,W], [N,H,W,C] or
    [N,C,H,W]; PIL images. checkpoint: a file, a run folder, a `Run` or `latest`. skip_bad: leave
    out files that cannot be read, and name them in `failed`. words, settings: of `cnnlab predict`.
    Raises DataError for an unreadable file otherwise, and for images of another form.
    """
    calling.refuse_others(words, settings, TAKEN)
    files = _files(images)

    def load() -> Callable[[PredictConfig, Launch], Predictions]:
        return lambda config, launch: _classified(config, images, files is not None, skip_bad)

    # the command needs a path: for arrays it gets one that is never looked at
    own = {"images": files or ["arrays"], "checkpoint": checkpoint}
    return calling.call("predict", words, {**settings, **own}, load)


def _files(images: Any) -> list[str] | None:
    """Return the paths that were given; None for arrays."""
    given = list(images) if isinstance(images, list | tuple) else [images]
    if not given or not all(isinstance(item, str | os.PathLike) for item in given):
        return None
    return [os.fspath(item) for item in given]


def _classified(config: PredictConfig, images: Any, are_files: bool, skip_bad: bool) -> Predictions:
    here = session.begin(config.runtime)
    predictor = open_predictor(config.checkpoint, config.evaluation, here, config.which_weights)
    as_is = config.pictures == "as_is"
    if not are_files:
        return predictor.predict(images, as_is=as_is)
    files, _ = picture_files(config.images)
    return _of_files(files, predictor, as_is, skip_bad)


def _of_files(files: list[Path], predictor: Predictor, as_is: bool, skip_bad: bool) -> Predictions:
    """Classify one file after the other, as the command does."""
    found: list[tuple[Path, Predictions]] = []
    failed: list[tuple[Path, str]] = []
    for path in files:
        ((_, picture),) = read_pictures([path], predictor.channels)
        if isinstance(picture, BadImage):
            failed.append((path, picture.reason))
            if not skip_bad or len(failed) == len(files):
                raise DataError(str(picture), hint="skip_bad=True leaves such files out")
        else:
            found.append((path, predictor.predict([picture], as_is=as_is)))

    first = found[0][1]
    return replace(
        first,
        probabilities=torch.cat([one.probabilities for _, one in found]),
        files=tuple(path for path, _ in found),
        failed=tuple(failed),
    )
