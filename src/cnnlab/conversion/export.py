"""Checkpoints out of cnnlab: to ONNX, plain safetensors or torchvision's names."""

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.config import StoredDatasetConfig, parse_model
from cnnlab.conversion.foreign_weights import check_counterpart
from cnnlab.conversion.partial_file import renamed_when_checked
from cnnlab.conversion.plain_weights import metadata, whole_metadata
from cnnlab.errors import CnnlabError, NumericsError, UsageError
from cnnlab.evaluation.views import Views
from cnnlab.extras import install_hint
from cnnlab.files import atomic
from cnnlab.images import center_crop
from cnnlab.inference.datasets import dataset_config, split_of
from cnnlab.inference.network import StoredNetwork
from cnnlab.models.alexnet_2014 import to_torchvision
from cnnlab.numerics import check_finite, probabilities
from cnnlab.preprocessing import Preprocessing
from cnnlab.safe_output import escape_control

NUM_CHECKED = 16
TOLERANCE = 1e-4
"""Largest difference of probabilities between the network and the exported file."""

TORCH_ENDINGS = (".pth", ".pt")
"""Of files written for torchvision; files that are read are recognized by content."""

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class FromPixels(nn.Module):
    """A network with its normalization: float pixels 0..255 [N,C,S,S] -> scores [N,K]."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, size_pixels: int) -> None:
        super().__init__()
        self.network = network

        mean = preprocessing.mean
        cut = mean[:, None, None] if mean.dim() == 1 else center_crop(mean, size_pixels)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", cut.clone())
        self.register_buffer("std", preprocessing.std[:, None, None].clone())

    def forward(self, images: Tensor) -> Tensor:
        """Normalize the pixels as training did, and return the scores."""
        scores: Tensor = self.network((images - self.mean) / self.std)
        return scores


def export(stored: StoredNetwork, output: Path) -> str:
    """Write the network in the format of the output's ending; return what was done.

    .onnx: input `images`, float32 pixels 0..255 [batch,C,S,S], normalization inside; output
    `scores` [batch,K]. .safetensors: the weights by name. Both hold class names and sizes in their
    metadata, and get their name after their predictions were compared with the network's. .pth,
    .pt: weights for torchvision. Raises UsageError for another ending or a missing extra,
    NumericsError where predictions differ or the network's scores are not finite.
    """
    if output.suffix in TORCH_ENDINGS:
        return write_for_torchvision(stored, output)
    if output.suffix not in WRITERS:
        raise UsageError(
            f"cannot write '{output.suffix or output.name}' files",
            hint=f"endings: {', '.join(WRITERS)}",
        )

    images, described = example_images(stored)
    with torch.inference_mode():
        check_finite(stored.network(stored.preprocessing.normalize(images)))

    output.parent.mkdir(parents=True, exist_ok=True)
    with renamed_when_checked(output) as partial:
        scores = WRITERS[output.suffix](stored, partial, images)
        difference = compare(stored, images, scores)
    return (
        f"{escape_control(str(output))}: the same predictions on {len(images)} {described} "
        f"(largest difference {difference:.1e})"
    )


def write_for_torchvision(stored: StoredNetwork, output: Path) -> str:
    """Write the weights of alexnet_2014 under torchvision's names; return what was done."""
    name = str(stored.config["model"]["name"])
    if name != "alexnet_2014":
        raise UsageError(
            f"torchvision has no counterpart of {name}",
            hint="output=FILE.safetensors or output=FILE.onnx take any model",
        )
    check_counterpart(parse_model(stored.config["model"]))

    content = io.BytesIO()
    torch.save(to_torchvision(dict(stored.network.state_dict())), content)
    atomic.write_bytes(output, content.getvalue())
    path = escape_control(str(output))
    return f"{path}: for torchvision.models.alexnet, load_state_dict(strict=True)"


def example_images(stored: StoredNetwork) -> tuple[Tensor, str]:
    """Return uint8 [n,C,S,S] as the network sees them, and their description.

    The first test images of the checkpoint's set; noise where the set is not on this machine.
    """
    size = stored.network.input_size_pixels
    asked = StoredDatasetConfig(
        name="checkpoint", root=None, download=False, residency=None, on_bad=None
    )

    try:
        store = split_of(dataset_config(asked, stored), "test")
    except (CnnlabError, OSError):
        shape = (NUM_CHECKED, stored.network.in_channels, size, size)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return noise, "noise images (the data set is not on this machine)"

    indices = torch.arange(min(NUM_CHECKED, len(store)))
    prepared = stored.preprocessing.prepare(store.read(indices).permute(0, 3, 1, 2))
    return Views("center", size)(prepared)[:, 0], f"test images of {store.name}"


def compare(stored: StoredNetwork, images: Tensor, scores: Tensor) -> float:
    """Return the largest difference of probabilities; raise NumericsError above the tolerance."""
    with torch.inference_mode():
        own = probabilities(stored.network(stored.preprocessing.normalize(images)))
    difference = float((own - probabilities(scores)).abs().max())
    if not difference <= TOLERANCE:
        raise NumericsError(f"the exported network's predictions differ (by {difference:.1e})")
    return difference


def _write_onnx(stored: StoredNetwork, path: Path, images: Tensor) -> Tensor:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}", hint=install_hint("export"))
    import onnx
    import onnxruntime

    module = FromPixels(
        stored.network, stored.preprocessing, stored.network.input_size_pixels
    ).eval()
    pixels = images.float().contiguous()
    _quietly(
        lambda: torch.onnx.export(
            module,
            (pixels,),
            str(path),
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    )

    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, metadata(stored))
    onnx.save(graph, path)

    # two batch sizes, since the file should take any
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    few = torch.from_numpy(session.run(None, {"images": pixels[:1].numpy()})[0])
    rest = torch.from_numpy(session.run(None, {"images": pixels[1:].numpy()})[0])
    return torch.cat([few, rest])


def _write_safetensors(stored: StoredNetwork, path: Path, images: Tensor) -> Tensor:
    from safetensors.torch import load, save

    weights = {name: tensor.contiguous() for name, tensor in stored.network.state_dict().items()}
    # save_file would leave a file that only its owner may read
    atomic.write_bytes(path, save(weights, whole_metadata(stored)))

    own = {name: tensor.clone() for name, tensor in stored.network.state_dict().items()}
    try:
        # read by us: what a failing disk says reaches the user
        stored.network.load_state_dict(load(path.read_bytes()))
        with torch.inference_mode():
            return stored.network(stored.preprocessing.normalize(images))
    finally:
        stored.network.load_state_dict(own)


def _quietly(action: Callable[[], Any]) -> None:
    """Run `action` without the exporter's own notices; errors are still raised."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action()
    finally:
        logger.setLevel(level)


WRITERS: dict[str, Callable[[StoredNetwork, Path, Tensor], Tensor]] = {
    ".onnx": _write_onnx,
    ".safetensors": _write_safetensors,
}
