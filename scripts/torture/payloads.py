"""25 files that run a command when unpickled, given to every command that takes a path.

The payload creates a marker file, which must never appear, and each error must be clean.
"""

import io
import os
import pickle
import pickletools
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnlab.files import tensor_header
from scripts.torture import command
from scripts.torture.mutations import sample, seal

REFUSED = (2, 3, 4)


class Attack:
    """Calls `function(*arguments)` while it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def attacks(marker: Path) -> dict[str, Attack]:
    """Return the ways to create the marker by unpickling."""
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "os_system": Attack(os.system, f"touch '{marker}'"),
        "eval": Attack(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Attack(exec, code),
        "open": Attack(open, str(marker), "w"),
    }


def files(folder: Path, marker: Path) -> list[Path]:
    """Write the 25 files and return them."""
    made: dict[str, bytes] = {}
    for name, attack in attacks(marker).items():
        state = {"model": {"weight": torch.ones(2)}, "optimizer": attack}
        made[f"{name}.pkl"] = pickle.dumps(attack)
        made[f"{name}_zip.pt"] = _saved(attack)
        made[f"{name}_legacy.pt"] = _saved(attack, legacy=True)
        made[f"{name}_in_state.pt"] = _saved(state)

    attack = attacks(marker)["os_system"]
    for protocol in (0, 2):
        made[f"protocol_{protocol}.pth"] = pickle.dumps(attack, protocol)
    made["optimized.pth"] = pickletools.optimize(pickle.dumps(attack))
    made["nested.pt"] = _saved({"a": [{"b": ("c", {"rng": attack})}]})
    made["archive.tar"] = _tar(pickle.dumps(attack))
    made["renamed.safetensors"] = _saved(attack)
    made["in_document.safetensors"] = _forged(
        {"config": {"_target_": "os.system", "x": str(marker)}}
    )
    made["in_config.safetensors"] = _forged(
        {"config": {"model": {"name": f"!!python/object/apply:os.system ['touch {marker}']"}}}
    )
    made["polyglot.safetensors"] = _forged({}) + _saved(attack)

    for name, content in made.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in made]


def attack_all(folder: Path) -> dict[str, Any]:
    """Give each file to each command; list executions, tracebacks and files that were accepted."""
    marker = folder / "marker"
    paths = files(folder, marker)
    executed, unclean, accepted, tried = [], [], [], 0

    for path in paths:
        for words in commands(path):
            outcome = command.call(*words)
            tried += 1
            label = f"{words[0]} {path.name}"
            if marker.exists():
                executed.append(label)
                marker.unlink()
            if not outcome.is_clean:
                unclean.append(f"{label}: {outcome.errors[:300]}")
            if outcome.code not in REFUSED:
                accepted.append(f"{label}: {outcome.code}")

    counts = {"files": len(paths), "commands": tried}
    return counts | {"executed": executed, "unclean": unclean, "accepted": accepted}


def commands(path: Path) -> list[list[str]]:
    """Return every command that opens a checkpoint or a file of weights, given `path`."""
    checkpoint, output = f"checkpoint={path}", path.parent / "converted.safetensors"
    return [
        ["evaluate", checkpoint],
        ["train", f"resume={path}"],
        ["visualize", checkpoint, f"output={path.parent / 'pictures'}"],
        ["predict", checkpoint, f"images={path}"],
        ["train", "model=alexnet_2014", f"model.weights={path}"],
        ["convert", f"source={path}", f"output={output}"],
    ]


def payloads_work(folder: Path) -> bool:
    """Return whether unpickling one of the files does create the marker."""
    marker = folder / "marker"
    with open(folder / "os_system.pkl", "rb") as file:
        pickle.load(file)
    works = marker.exists()
    marker.unlink(missing_ok=True)
    return works


def _saved(value: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("pickle")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _forged(document: dict[str, Any]) -> bytes:
    """Return a well-formed checkpoint with a valid digest and a document of the attacker."""
    _, honest = sample(1)
    entries = [tensor_header.Entry("model.w", "F32", (2,))]
    header = tensor_header.build(entries, honest | document | {"format_version": 1})
    return seal(len(header).to_bytes(8, "little") + header + bytes(8))


def bomb(folder: Path, num_values: int = 2_000_000) -> Path:
    """Write a torch file of a few KB that unpacks to 4 bytes per value."""
    path = folder / "bomb.pt"
    plain = _saved({"w": torch.zeros(num_values)})
    with (
        zipfile.ZipFile(io.BytesIO(plain)) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    return path
