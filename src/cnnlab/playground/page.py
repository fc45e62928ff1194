"""Write the playground: a single HTML file with the program, the weights, the images and the code.

Nothing is fetched, and the browser is told so: its content security policy admits the page's own
script and style, by their hashes, and nothing else.
"""

import base64
import hashlib
import html
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.files import atomic
from cnnlab.images import center_crop
from cnnlab.models.network import Network
from cnnlab.playground.examples import Examples, Neighbors, examples_of, neighbors_of
from cnnlab.playground.program import Program, program_of
from cnnlab.preprocessing import Preprocessing
from cnnlab.safe_output import escape_control
from cnnlab.visualization.filters import evenly
from cnnlab.visualization.probe import Probe

FILE_NAME = "playground.html"
MOST_NUMBERS = 8_000_000
"""Weights in a page, of all its checkpoints together: a file of about 40 MB."""

MOST_MOMENTS = 8
SCRIPTS = ("interpreter.js", "preprocess.js", "maps.js", "unit.js", "main.js")
ASSETS = Path(__file__).parent


@dataclass(frozen=True)
class Subject:
    """A network with what its page shows of it.

    label: when its checkpoint was written. is_digits: whether pictures are brought to MNIST's form.
    """

    network: Network
    preprocessing: Preprocessing
    probe: Probe
    label: str
    is_digits: bool


def write(subject: Subject, folder: Path) -> Path:
    """Write the page atomically and return its path.

    Raises UsageError for a network that the page cannot compute or hold.
    """
    program = program_of(subject.network)
    check_size(program)
    moments = moments_of(subject, program)
    examples = examples_of(subject.network, subject.probe)
    neighbors = neighbors_of(subject.network, subject.probe)

    blocks = {f"weights-{i}": packed(weights) for i, (_, weights) in enumerate(moments)}
    blocks["example-images"] = packed(examples.images)
    if neighbors is not None:
        blocks["neighbor-images"] = packed(neighbors.thumbnails)
        blocks["neighbor-vectors"] = packed(neighbors.vectors)

    content = _content(subject, program, examples, neighbors)
    content["moments"] = [label for label, _ in moments]
    content["moment"] = content["moments"].index(subject.label)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    atomic.write_bytes(path, assembled(content, blocks).encode("utf-8", "backslashreplace"))
    return path


def check_size(program: Program) -> None:
    """Raise UsageError for a network whose weights are too many for a page."""
    if program.num_weights > MOST_NUMBERS:
        narrower = (MOST_NUMBERS / program.num_weights) ** 0.5
        raise UsageError(
            f"the playground holds {MOST_NUMBERS:,} weights, and this network has "
            f"{program.num_weights:,}",
            hint=f"one of {narrower:.0%} of its width would fit: train with a smaller model.width",
        )


def moments_of(subject: Subject, program: Program) -> list[tuple[str, Tensor]]:
    """Return (label, weights) of the run's kept checkpoints, oldest first, and of the network.

    As many as the page can hold, evenly spaced; one network is in memory at a time.
    """
    own = (subject.label, program.weights)
    most = min(MOST_MOMENTS, MOST_NUMBERS // program.num_weights)
    checkpoints = subject.probe.checkpoints
    if checkpoints is None or most < 3:
        return [own]

    labels = [label for label, _ in checkpoints()]
    wanted = evenly([label for label in labels if label != subject.label], most - 1)
    found = [
        (label, program_of(network).weights) for label, network in checkpoints() if label in wanted
    ]

    # the network's own checkpoint is at its place in time, at the end if that was removed
    earlier = labels[: labels.index(subject.label)] if subject.label in labels else labels
    before = sum(label in earlier for label, _ in found)
    return [*found[:before], own, *found[before:]]


def _content(
    subject: Subject, program: Program, examples: Examples, neighbors: Neighbors | None
) -> dict[str, Any]:
    """Return what the page reads as JSON."""
    probe, network = subject.probe, subject.network
    content = {
        "model": escape_control(probe.model_title),
        "about": escape_control(f"{probe.set_title} \u00b7 {probe.checkpoint_title}"),
        "classes": [probe.class_name(number) for number in range(network.num_classes)],
        "input": _input(subject),
        "operations": program.operations,
        "examples": {"labels": examples.labels, "misses": examples.num_misses},
    }
    if neighbors is not None:
        names = [operation["name"] for operation in program.operations]
        content["neighbors"] = {
            "layer": names.index(neighbors.layer) + 1,  # the first of the values is the input
            "labels": neighbors.labels,
            "low": neighbors.low,
            "high": neighbors.high,
            "size": list(neighbors.thumbnails.shape[1:]),
        }
    return content


def _input(subject: Subject) -> dict[str, Any]:
    """Return the preprocessing; a mean image is cut to what the network sees."""
    preprocessing, size = subject.preprocessing, subject.network.input_size_pixels
    mean = preprocessing.mean
    if mean.dim() == 3:
        mean = center_crop(mean, size).round(decimals=4)
    return {
        "channels": preprocessing.channels,
        "size": size,
        "stored_pixels": preprocessing.image_size_pixels,
        "pad_pixels": preprocessing.pad_pixels,
        "is_digits": subject.is_digits,
        "mean": mean.flatten().tolist(),
        "std": preprocessing.std.tolist(),
    }


def assembled(content: dict[str, Any], blocks: dict[str, str]) -> str:
    """Return the page's HTML."""
    script = "\n".join(asset(name) for name in SCRIPTS)
    style = asset("style.css")
    data = "\n".join(
        f'<script type="text/plain" id="{name}">{text}</script>' for name, text in blocks.items()
    )
    # no text of a user can end the element that it stands in
    plain = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    parts = {
        "POLICY": (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        "TITLE": html.escape(f"{content['model']} \u00b7 playground"),
        "STYLE": style,
        "DATA": f'<script type="application/json" id="content">{plain}</script>\n{data}',
        "SCRIPT": script,
    }

    first, *rest = asset("page.html").split("{{")
    for piece in rest:
        name, _, text = piece.partition("}}")
        first += parts[name] + text
    return first


def asset(name: str) -> str:
    """Return the text of one of the page's files."""
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def packed(values: Tensor) -> str:
    """Return base64 of the compressed bytes: float32 in little-endian order, or uint8."""
    array = values.detach().cpu().contiguous().numpy()
    in_order = array.astype(array.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(in_order.tobytes(), 9)).decode("ascii")
