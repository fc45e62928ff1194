"""Weights of torchvision's AlexNet, or plain safetensors of ours -> a checkpoint file of cnnlab."""

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from cnnlab import checkpoint
from cnnlab.config import to_plain
from cnnlab.config.alexnets import Alexnet2014Config
from cnnlab.config.verbs.convert import ConvertConfig
from cnnlab.conversion import foreign_weights, plain_weights
from cnnlab.conversion.partial_file import renamed_when_checked
from cnnlab.errors import DataError, ResourceError, UsageError
from cnnlab.inference.network import open_network
from cnnlab.safe_output import escape_control


def convert_torchvision(
    config: ConvertConfig, weights: foreign_weights.ForeignWeights, source: str, output: Path
) -> str:
    """Write torchvision's AlexNet weights as a checkpoint of cnnlab; return what was done.

    Raises UsageError for another model or ending, CheckpointError for weights that do not fit.
    """
    if not isinstance(config.model, Alexnet2014Config) or output.suffix != ".safetensors":
        raise UsageError(
            f"torchvision's AlexNet becomes model=alexnet_2014 in a .safetensors file, "
            f"not {config.model.name} in '{output.suffix or output.name}'"
        )
    foreign_weights.check_counterpart(config.model)

    names = None
    if config.class_names is not None:
        names = read_class_names(config.class_names, foreign_weights.num_classes(weights, source))
    sections = {"dataset": to_plain(config.dataset), "augment": to_plain(config.augment)}
    made = foreign_weights.as_checkpoint(weights, config.model, source, names, sections)
    checkpoint.write(output, made.tensors, made.document)

    num_tensors = len(checkpoint.section(made.tensors, "model."))
    done = f"{escape_control(str(output))}: {len(made.document['class_names'])} classes, "
    return f"{weights.unwrapping_note}\n{done}{num_tensors} tensors".lstrip()


def convert_plain(config: ConvertConfig, source: str, output: Path) -> str:
    """Write a plain safetensors file of ours as a checkpoint of cnnlab; return what was done.

    Raises UsageError for another ending, CheckpointError for a file that is no such network.
    """
    if output.suffix != ".safetensors":
        raise UsageError(
            f"a plain safetensors file becomes a checkpoint in a .safetensors file first, not "
            f"'{escape_control(output.suffix or output.name)}'",
            hint="output=FILE.safetensors, which convert then takes as its source",
        )

    sections = {"dataset": to_plain(config.dataset), "augment": to_plain(config.augment)}
    made = plain_weights.read(source, sections)
    num_tensors = len(checkpoint.section(made.tensors, "model."))
    with renamed_when_checked(output) as partial:
        checkpoint.write(partial, made.tensors, made.document)
        name = open_network(partial, torch.device("cpu")).config["model"]["name"]
    return f"{escape_control(str(output))}: {name}, {num_tensors} tensors"


def pretrained_weights() -> dict[str, Tensor]:
    """Return torchvision's ImageNet weights, from its cache or the network."""
    from torchvision.models import AlexNet_Weights

    try:
        state: dict[str, Tensor] = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
    except (URLError, OSError) as error:
        raise ResourceError(
            f"torchvision's weights cannot be downloaded: {error}",
            hint="download the file elsewhere and give source=FILE.pth",
        ) from error
    return state


def read_class_names(path: str, num_classes: int) -> list[str]:
    """Return the lines of a file of class names. Raises DataError where they do not fit."""
    try:
        names = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "the class names cannot be read", escape_control(path), str(error)
        ) from error

    if len(names) != num_classes or len(set(names)) != num_classes:
        what = f"{len(set(names))} different names for {num_classes} classes"
        raise DataError(what, escape_control(path))
    return names
