"""`cnnlab convert`: weights of torchvision's AlexNet in, cnnlab's networks out."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from cnnlab import checkpoint, run_folder
from cnnlab.config import ConvertConfig, Launch, parse_model, to_plain
from cnnlab.config.models import Alexnet2014Config, ModelConfig, ScalableConfig
from cnnlab.conversion import foreign_weights, plain_weights
from cnnlab.conversion.export import export
from cnnlab.errors import BusyError, DataError, ResourceError, UsageError
from cnnlab.files import atomic, foreign
from cnnlab.inference.network import StoredNetwork, import_plugins, open_network
from cnnlab.models.alexnet_2014 import to_torchvision
from cnnlab.printable import printable, write_out

TORCH_ENDINGS = (".pth", ".pt")
"""Of files that are written for torchvision; what is read is known by its content."""


def run(config: ConvertConfig, launch: Launch) -> int:
    """Convert one file into another, print what was done, return 0."""
    import_plugins(config.plugins)
    if not config.source or not config.output:
        raise UsageError(
            "convert needs source and output",
            hint="cnnlab convert source=alexnet.pth output=alexnet.safetensors",
        )
    output = Path(config.output)
    if output.exists():
        raise BusyError(f"{printable(str(output))} exists already", hint="choose another output")
    write_out(_convert(config, config.source, output))
    return 0


def _convert(config: ConvertConfig, source: str, output: Path) -> str:
    if source == "torchvision":
        return take_in(config, foreign_weights.ForeignWeights(_by_name()), source, output)
    if foreign.is_plain_of_ours(source):
        return take_back(config, source, output)
    if foreign_weights.is_foreign(source):
        return take_in(config, foreign_weights.read(source), source, output)
    stored = open_network(run_folder.resolve_checkpoint(source), torch.device("cpu"))
    if output.suffix in TORCH_ENDINGS:
        return give_out(stored, output)
    return export(stored, output)


def take_in(
    config: ConvertConfig, weights: foreign_weights.ForeignWeights, source: str, output: Path
) -> str:
    """Write torchvision's AlexNet weights as a checkpoint of cnnlab; say what was done.

    Raises UsageError for another model or ending, CheckpointError for weights that do not fit.
    """
    if not isinstance(config.model, Alexnet2014Config) or output.suffix != ".safetensors":
        raise UsageError(
            f"torchvision's AlexNet becomes model=alexnet_2014 in a .safetensors file, "
            f"not {config.model.name} in '{output.suffix or output.name}'"
        )
    _check_width(config.model)
    names = None
    if config.class_names is not None:
        names = _read_names(config.class_names, foreign_weights.num_classes(weights, source))
    sections = {"dataset": to_plain(config.dataset), "augment": to_plain(config.augment)}
    held = foreign_weights.as_checkpoint(weights, config.model, source, names, sections)

    checkpoint.write(output, held.tensors, held.document)
    num_tensors = len(checkpoint.section(held.tensors, "model."))
    done = f"{printable(str(output))}: {len(held.document['class_names'])} classes, "
    return f"{weights.said}\n{done}{num_tensors} tensors".lstrip()


def take_back(config: ConvertConfig, source: str, output: Path) -> str:
    """Write a plain safetensors file of ours as a checkpoint of cnnlab; say what was done.

    Raises UsageError for another ending, CheckpointError for a file that is no such network.
    """
    if output.suffix != ".safetensors":
        raise UsageError(
            f"a plain safetensors file becomes a checkpoint in a .safetensors file first, not "
            f"'{printable(output.suffix or output.name)}'",
            hint="output=FILE.safetensors, which convert then takes as its source",
        )
    sections = {"dataset": to_plain(config.dataset), "augment": to_plain(config.augment)}
    held = plain_weights.read(source, sections)
    num_tensors = len(checkpoint.section(held.tensors, "model."))
    with checked(output) as partial:
        checkpoint.write(partial, held.tensors, held.document)
        name = open_network(partial, torch.device("cpu")).config["model"]["name"]
    return f"{printable(str(output))}: {name}, {num_tensors} tensors"


@contextlib.contextmanager
def checked(output: Path) -> Iterator[Path]:
    """Give a name to write to, and to read back from; it becomes `output` if both went well."""
    partial = output.with_name(f".partial-{os.getpid()}-{output.name}")
    try:
        yield partial
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def give_out(stored: StoredNetwork, output: Path) -> str:
    """Write a cnnlab checkpoint of alexnet_2014 under torchvision's names; say what was done."""
    name = str(stored.config["model"]["name"])
    if name != "alexnet_2014":
        raise UsageError(
            f"torchvision has no counterpart of {name}",
            hint="output=FILE.safetensors or output=FILE.onnx take any model",
        )
    _check_width(parse_model(stored.config["model"]))
    content = io.BytesIO()
    torch.save(to_torchvision(dict(stored.network.state_dict())), content)
    atomic.write_bytes(output, content.getvalue())
    return f"{printable(str(output))}: for torchvision.models.alexnet, load_state_dict(strict=True)"


def _check_width(model: ModelConfig) -> None:
    """Raise UsageError for channels that torchvision's network does not have."""
    if isinstance(model, ScalableConfig) and model.width != 1:
        raise UsageError(
            f"torchvision has AlexNet at its full width only, not at model.width={model.width:g}",
            hint="output=FILE.safetensors or output=FILE.onnx take any width of cnnlab's networks",
        )


def _by_name() -> dict[str, Tensor]:
    """Return torchvision's ImageNet weights, from its cache or the network."""
    from torchvision.models import AlexNet_Weights

    try:
        state: dict[str, Tensor] = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
    except (URLError, OSError) as error:
        raise ResourceError(
            f"torchvision's weights cannot be fetched: {error}",
            hint="fetch the file elsewhere and give source=FILE.pth",
        ) from error
    return state


def _read_names(path: str, classes: int) -> list[str]:
    """Return the lines of a file of class names. Raises DataError where they do not fit."""
    try:
        names = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the class names cannot be read", printable(path), str(error)) from error
    if len(names) != classes or len(set(names)) != classes:
        raise DataError(f"{len(set(names))} different names for {classes} classes", printable(path))
    return names
