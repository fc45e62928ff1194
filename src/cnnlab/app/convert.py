"""`cnnlab convert`: weights of torchvision's AlexNet in, cnnlab's networks out."""

import io
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor

from cnnlab import checkpoint, models, run_folder
from cnnlab.app.export import export
from cnnlab.app.stored_network import StoredNetwork, import_plugins, open_network
from cnnlab.config import Launch, to_plain
from cnnlab.config.convert import ConvertConfig
from cnnlab.config.models import Alexnet2014Config
from cnnlab.errors import BusyError, CheckpointError, DataError, ResourceError, UsageError
from cnnlab.files import atomic, foreign
from cnnlab.models.alexnet_2014 import from_torchvision, to_torchvision
from cnnlab.preprocessing import Preprocessing
from cnnlab.printable import printable

TORCH_ENDINGS = (".pth", ".pt")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of pixels in 0..1, as torchvision's weights expect them."""

PREPARED_PIXELS, INPUT_PIXELS = 256, 224


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
    print(_convert(config, config.source, output))
    return 0


def _convert(config: ConvertConfig, source: str, output: Path) -> str:
    if source == "torchvision" or Path(source).suffix in TORCH_ENDINGS:
        state = _by_name() if source == "torchvision" else read_torch_file(Path(source))
        return take_in(config, state, source, output)
    stored = open_network(run_folder.resolve_checkpoint(source), torch.device("cpu"))
    if output.suffix in TORCH_ENDINGS:
        return give_out(stored, output)
    return export(stored, output)


def take_in(config: ConvertConfig, state: dict[str, Tensor], source: str, output: Path) -> str:
    """Write torchvision's AlexNet weights as a checkpoint of cnnlab; say what was done.

    Raises UsageError for another model or ending, CheckpointError for weights that do not fit.
    """
    if not isinstance(config.model, Alexnet2014Config) or output.suffix != ".safetensors":
        raise UsageError(
            f"torchvision's AlexNet becomes model=alexnet_2014 in a .safetensors file, "
            f"not {config.model.name} in '{output.suffix or output.name}'"
        )
    weights = _our_names(state, source)
    channels, classes = weights["conv1.weight"].shape[1], weights["fc8.weight"].shape[0]
    network = models.build(
        config.model,
        in_channels=channels,
        input_size_pixels=INPUT_PIXELS,
        num_classes=classes,
        seed=0,
    )
    target = dict(network.state_dict())
    checkpoint.copy_into(target, weights, source)
    names = _class_names(config.class_names, classes)
    preprocessing = _preprocessing(channels)
    tensors = {f"model.{name}": value for name, value in target.items()}
    checkpoint.write(
        output,
        tensors | preprocessing.state()[0],
        _document(config, source, names, (channels, classes), preprocessing),
    )
    return f"{printable(str(output))}: {network.num_classes} classes, {len(target)} tensors"


def give_out(stored: StoredNetwork, output: Path) -> str:
    """Write a cnnlab checkpoint of alexnet_2014 under torchvision's names; say what was done."""
    name = str(stored.config["model"]["name"])
    if name != "alexnet_2014":
        raise UsageError(
            f"torchvision has no counterpart of {name}",
            hint="output=FILE.safetensors or output=FILE.onnx take any model",
        )
    content = io.BytesIO()
    torch.save(to_torchvision(dict(stored.network.state_dict())), content)
    atomic.write_bytes(output, content.getvalue())
    return f"{printable(str(output))}: for torchvision.models.alexnet, load_state_dict(strict=True)"


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict file, without executing anything in it.

    A state dict inside {"state_dict": ...} and names beginning with "module." are found, too.
    Raises CheckpointError for anything but named tensors.
    """
    where = printable(str(path))
    if foreign.holds_more_than_it_is(path):
        raise CheckpointError(
            "the file is compressed, which torch's own are not, and is not unpacked", where
        )
    try:
        with warnings.catch_warnings(action="ignore"):
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"the weights cannot be read: {error.strerror}", where) from error
    except Exception as error:  # damaged pickles raise whatever their bytes lead to
        raise CheckpointError(
            "not a file of plain tensors that torch.load(weights_only=True) accepts",
            where,
            foreign.asks_for(foreign.first_bytes(path)),
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError("the file holds something else than tensors by name", where)
    return {str(name).removeprefix("module."): value for name, value in found.items()}


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


def _our_names(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    try:
        return from_torchvision(state)
    except KeyError as error:
        raise CheckpointError(
            f"these are not the weights of torchvision's AlexNet: {error} is missing",
            printable(source),
        ) from error


def _class_names(path: str | None, classes: int) -> list[str]:
    if path is not None:
        try:
            names = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                "the class names cannot be read", printable(path), str(error)
            ) from error
        if len(names) != classes or len(set(names)) != classes:
            raise DataError(
                f"{len(set(names))} different names for {classes} classes", printable(path)
            )
        return names
    if classes == 1000:
        from torchvision.models import AlexNet_Weights

        return _distinct(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
    return [f"class {number}" for number in range(classes)]


def _distinct(names: list[str]) -> list[str]:
    """Number repeated names: ImageNet has two cranes and two maillots."""
    return [
        name if name not in names[:place] else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]


def _preprocessing(channels: int) -> Preprocessing:
    def levels(of_unit: tuple[float, ...]) -> Tensor:
        return 255 * torch.tensor(of_unit if channels == 3 else [sum(of_unit) / 3] * channels)

    mean, std = levels(IMAGENET_MEAN), levels(IMAGENET_STD)
    return Preprocessing(channels, PREPARED_PIXELS, 0, mean, std)


def _document(
    config: ConvertConfig,
    source: str,
    names: list[str],
    sizes: tuple[int, int],
    preprocessing: Preprocessing,
) -> dict[str, Any]:
    """Return what evaluation reads of a checkpoint; there was no run, so nothing else is told."""
    return {
        "config": {
            "model": to_plain(config.model),
            "dataset": to_plain(config.dataset),
            "augment": to_plain(config.augment),
        },
        "class_names": names,
        "model": {
            "in_channels": sizes[0],
            "input_size_pixels": INPUT_PIXELS,
            "num_classes": sizes[1],
        },
        "input": preprocessing.state()[1],
        "converted_from": printable(Path(source).name),
        "metrics": {},
    }
