"""Recognize a file that is no checkpoint of cnnlab by its first bytes, without opening it."""

import contextlib
import json
import re
from pathlib import Path

from cnnlab.errors import CheckpointError
from cnnlab.safe_output import escape_control

LOOK_BYTES = 1 << 18
OWN_HEADER = b'{"__metadata__":{"sha256":"'
"""The start of a cnnlab checkpoint's header, after its 8 bytes of length."""
OWN_METADATA = "cnnlab."
"""The prefix of the metadata keys that `convert` puts into a plain safetensors file."""
MOST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format."""
NUM_NAMES_SHOWN = 3

_NAME = rb"([A-Za-z_][\w.]{0,99}+)"
_GLOBALS = re.compile(rb"c%b\n%b\n|\x8c.%b\x94?\x8c.%b\x94?\x93" % ((_NAME,) * 4), re.DOTALL)
"""An import in a pickle: module and name in two lines, or as two strings and \\x93."""
_OF_TENSORS = re.compile(r"(torch\._utils\._rebuild|torch\.\w*(Storage|_tensor)|collections\.)")
_OF_MODULES = re.compile(
    r"(torch\.nn\.(modules|parallel)\.|torchvision\.models\.|__builtin__\.set)"
)
_CONVERT = "cnnlab convert source=FILE output=FILE.safetensors"
_WHOLE_MODULE = (
    "it is a whole pickled module, which is code: open it only if you trust it, and save its "
    "weights with torch.save(model.state_dict(), FILE)"
)


def format_of(head: bytes) -> str:
    """Return the format of a file by its first 100 bytes or more: 'torch', 'safetensors' or ''.

    'torch': a zip or a pickle. 'safetensors': one without cnnlab's digest.
    """
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "torch"
    if head[8:9] == b"{" and not head[8:].startswith(OWN_HEADER):
        return "safetensors"
    return ""


def metadata_of(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, {} where there is none."""
    try:
        with open(path, "rb") as file:
            num_bytes = int.from_bytes(file.read(8), "little")
            if num_bytes > MOST_HEADER_BYTES:
                return {}
            found = json.loads(file.read(num_bytes))["__metadata__"]
            return {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def is_plain_of_ours(path: str | Path) -> bool:
    """Return whether `convert` wrote this safetensors file from a checkpoint of cnnlab."""
    return f"{OWN_METADATA}model" in metadata_of(path)


def refusal(path: object, head: bytes) -> CheckpointError:
    """Return the error for a file whose first bytes (up to LOOK_BYTES) are `head`."""
    what, hint = "not a checkpoint of cnnlab", ""
    text = head[:200].lstrip().lower()

    if not head.strip(b"\0"):
        what = "an empty file" if not head else "a file of zeros: the disk lost its content"
    elif head.startswith((b"PK", b"\x80", b"\x1f\x8b")) or _GLOBALS.match(head):
        what = "a zip, gzip or pickle file, not a checkpoint of cnnlab, and is not opened"
        hint = pickle_warning(head) or f"weights saved by torch: {_CONVERT}"
    elif head[257:262] == b"ustar":
        what, hint = (
            "a tar archive, not a checkpoint of cnnlab, and is not opened",
            pickle_warning(head),
        )
    elif head[8:9] == b"{":
        what, hint = "a safetensors file without cnnlab's digest", f"foreign weights: {_CONVERT}"
    elif text.startswith((b"<!doctype", b"<html")):
        what = "a web page, not a checkpoint: the download went wrong"

    return CheckpointError(f"the file is {what}", escape_control(str(path)), hint)


def first_bytes(path: str | Path) -> bytes:
    """Return up to LOOK_BYTES of a file, b"" if it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(LOOK_BYTES)
    return b""


def is_larger_unpacked(path: str | Path) -> bool:
    """Return whether the members of a zip archive claim more bytes than the file has."""
    import zipfile  # here: `cnnlab --help` imports this module, and this one takes 8 ms

    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return claimed > Path(path).stat().st_size


def pickle_warning(head: bytes) -> str:
    """Return a warning about the functions that a pickle in `head` would call, or ''.

    A pickled module of torch or torchvision has its own warning. The names are searched as
    text, so a pickle can hide them; since nothing is opened, that does no harm.
    """
    found = [b".".join(part for part in match if part) for match in _GLOBALS.findall(head)]
    names = dict.fromkeys(name.decode() for name in found)
    strange = [name for name in names if not _OF_TENSORS.match(name)]
    if not strange:
        return ""

    if all(_OF_MODULES.match(name) for name in strange):
        return _WHOLE_MODULE
    more = len(strange) - NUM_NAMES_SHOWN
    listed = ", ".join(strange[:NUM_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return escape_control(f"it would call {listed}, which no weights need: do not open it")
