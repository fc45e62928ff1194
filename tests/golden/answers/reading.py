"""Read what a command printed or wrote as plain values that JSON can hold and a test can compare.

Digests start with "sha:"; they and floats are compared exactly only where `facts()` are the same.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.golden.processor import processor

VOLATILE = frozenset(
    (
        *("started", "ended", "pid", "host", "platform", "num_processors", "launch", "device"),
        *("versions", "git", "torch", "environment", "speed/images_per_second", "time", "sweep"),
        "training_seconds",
    )
)
"""Keys whose value depends on when and where a command ran; a value that is not null becomes *."""

RENAMED = {"colour": "color", "grey": "gray", "centre": "center", "neighbour": "neighbor"}
"""Spellings in keys, values and file names that the refactor changes: mapped before comparing."""

DIGEST = "sha:"
SHA256 = re.compile("[0-9a-f]{64}")

HYDRAS_OWN = "multirun.yaml"
"""Written by Hydra, with places of this machine in it."""


def facts() -> dict[str, str]:
    """Name what must be the same for floats, pixels and compressed pictures to be the same bits."""
    import matplotlib
    import PIL

    return {
        **processor(),
        "numpy": np.__version__,
        "matplotlib": matplotlib.__version__,
        "pillow": PIL.__version__,
    }


def nothing(out: str) -> None:
    """Ignore what was printed: words may change."""


def as_json(out: str) -> Any:
    """Return the JSON document that was printed."""
    return json.loads(out)


def as_csv(out: str) -> list[dict[str, Any]]:
    """Return the printed table, numbers as numbers."""
    return _rows(out)


def as_yaml(out: str) -> Any:
    """Return the printed settings."""
    return yaml.safe_load(out)


def kinds(value: Any) -> Any:
    """Replace each figure and text of a measurement by its kind; keys and names stay."""
    if isinstance(value, dict):
        return {k: v if k == "name" else kinds(v) for k, v in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def contents(path: Path) -> Any:
    """Describe a file, or each file of a folder by its path inside; names alone for pages."""
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file())
        return {_stable_name(p.relative_to(path)): contents(p) for p in inside}
    reader = None if path.name == HYDRAS_OWN else READERS.get(path.suffix)
    return reader(path) if reader else "a file"


def _stable_name(path: Path) -> str:
    """Return a path without the time, host and process in TensorBoard's file names."""
    return re.sub(r"(events\.out\.tfevents)\..*", r"\1.*", path.as_posix())


def digest(array: Any) -> str:
    """Return a digest of an array's type, shape and bytes."""
    array = np.ascontiguousarray(array)
    kind = f"{array.dtype.str}{array.shape}".encode()
    return DIGEST + hashlib.sha256(kind + array.tobytes()).hexdigest()[:16]


def array(values: Any) -> dict[str, Any]:
    """Describe an array; its mean is compared where its bits cannot be."""
    values = np.asarray(values)
    mean = float(values.mean(dtype=np.float64)) if values.size else None
    return {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "mean": mean,
        "bits": digest(values),
    }


def _tensors(path: Path) -> dict[str, Any]:
    """Describe each tensor and the JSON documents of the header, without its own checksum."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        header = {k: _maybe_json(v) for k, v in (file.metadata() or {}).items() if k != "sha256"}
        tensors = {name: array(file.get_tensor(name)) for name in sorted(file.keys())}
    return {"header": header, "tensors": tensors}


def _maybe_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _torch_file(path: Path) -> dict[str, Any]:
    import torch

    state = torch.load(path, weights_only=True)
    return {name: array(value.numpy()) for name, value in state.items()}


def _picture(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        pixels = np.asarray(image)
        return {"size": list(image.size), "mode": image.mode, "pixels": digest(pixels)}


def _rows(text: str) -> list[dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(text))
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _number(text: str) -> Any:
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
    ".yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
    ".csv": lambda path: _rows(path.read_text(encoding="utf-8")),
    ".npy": lambda path: array(np.load(path, allow_pickle=False)),
    ".safetensors": _tensors,
    ".pth": _torch_file,
    ".png": _picture,
    ".jpg": _picture,
    ".bin": lambda path: DIGEST + hashlib.sha256(path.read_bytes()).hexdigest()[:16],
}
"""How a file is read, by its ending; of any other file only the name is compared."""


def normal(value: Any, folder: Path, key: str = "") -> Any:
    """Return a value without times, hosts, versions and the scratch folder's place."""
    if key in VOLATILE and value is not None:
        return "*"
    if isinstance(value, dict):
        of_volatile = value.get("name") in VOLATILE  # a row of `compare`
        hidden = "device" if of_volatile else ""
        return {k: normal(v, folder, k if k == "name" else hidden or k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [normal(item, folder) for item in value]
    return value.replace(str(folder), "<here>") if isinstance(value, str) else value


def differences(wanted: Any, found: Any, *, exact: bool, where: str = "") -> Iterator[str]:
    """Yield one line per place where two answers differ, after mapping renamed spellings."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        yield from _of_mappings(wanted, found, exact, where)
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{where}: {len(wanted)} items, now {len(found)}"
        for number, pair in enumerate(zip(wanted, found, strict=False)):
            yield from differences(*pair, exact=exact, where=f"{where}[{number}]")
    elif not _same(wanted, found, exact):
        yield f"{where}: {wanted!r}, now {found!r}"


def _of_mappings(
    wanted: dict[str, Any], found: dict[str, Any], exact: bool, where: str
) -> Iterator[str]:
    wanted = {american(key): value for key, value in wanted.items()}
    found = {american(key): value for key, value in found.items()}
    yield from (f"{where}/{key}: gone" for key in wanted.keys() - found.keys())
    yield from (f"{where}/{key}: new" for key in found.keys() - wanted.keys())
    for key in wanted.keys() & found.keys():
        yield from differences(wanted[key], found[key], exact=exact, where=f"{where}/{key}")


def american(text: str) -> str:
    """Return a text with the spellings of RENAMED replaced."""
    for old, new in RENAMED.items():
        text = text.replace(old, new)
    return text


def _same(wanted: Any, found: Any, exact: bool) -> bool:
    if type(wanted) is not type(found):
        return False
    if isinstance(wanted, str):
        is_digest = all(x.startswith(DIGEST) or SHA256.fullmatch(x) for x in (wanted, found))
        return (is_digest and not exact) or american(wanted) == american(found)
    if isinstance(wanted, float):
        both_nan = math.isnan(wanted) and math.isnan(found)
        close = not exact and math.isclose(wanted, found, rel_tol=1e-3, abs_tol=1e-6)
        return wanted == found or both_nan or close
    return bool(wanted == found)
