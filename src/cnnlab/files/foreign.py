"""What a file is that is no checkpoint of ours: guessed from its first bytes, nothing is opened."""

import contextlib
import re
import zipfile
from pathlib import Path

from cnnlab.errors import CheckpointError
from cnnlab.printable import printable

LOOK_BYTES = 1 << 18
NUM_NAMES_SHOWN = 3

_NAME = rb"([A-Za-z_][\w.]{0,99}+)"
_GLOBALS = re.compile(rb"c%b\n%b\n|\x8c.%b\x94?\x8c.%b\x94?\x93" % ((_NAME,) * 4), re.DOTALL)
"""How pickles spell what they import: module and name in two lines, or as two texts and \\x93."""
_OF_TENSORS = re.compile(r"(torch\._utils\._rebuild|torch\.\w*(Storage|_tensor)|collections\.)")
_CONVERT = "cnnlab convert source=FILE model=NAME output=FILE"


def refusal(path: object, head: bytes) -> CheckpointError:
    """Return the error for a file whose first bytes (up to LOOK_BYTES) are `head`."""
    what, hint = "not a checkpoint of cnnlab", ""
    text = head[:200].lstrip().lower()
    if not head.strip(b"\0"):
        what = "an empty file" if not head else "a file of zeros: the disk lost its content"
    elif head.startswith((b"PK", b"\x80", b"\x1f\x8b")) or _GLOBALS.match(head):
        what = "a zip, gzip or pickle file, not a checkpoint of cnnlab, and is not opened"
        hint = asks_for(head) or f"weights saved by torch: {_CONVERT}"
    elif head[257:262] == b"ustar":
        what, hint = "a tar archive, not a checkpoint of cnnlab, and is not opened", asks_for(head)
    elif head[8:9] == b"{":
        what, hint = "a safetensors file without cnnlab's digest", f"foreign weights: {_CONVERT}"
    elif text.startswith((b"<!doctype", b"<html")):
        what = "a web page, not a checkpoint: the download went wrong"
    return CheckpointError(f"the file is {what}", printable(str(path)), hint)


def first_bytes(path: str | Path) -> bytes:
    """Return up to LOOK_BYTES of a file, nothing if it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(LOOK_BYTES)
    return b""


def holds_more_than_it_is(path: str | Path) -> bool:
    """Say whether the members of a zip archive claim more bytes than the file has."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return claimed > Path(path).stat().st_size


def asks_for(head: bytes) -> str:
    """Return a warning with the names of functions that a pickle in `head` would call, or ''.

    Found by their spelling, so a pickle that hides them is not seen through; and needs not be.
    """
    found = [b".".join(part for part in match if part) for match in _GLOBALS.findall(head)]
    names = dict.fromkeys(name.decode() for name in found)
    strange = [name for name in names if not _OF_TENSORS.match(name)]
    if not strange:
        return ""
    more = len(strange) - NUM_NAMES_SHOWN
    listed = ", ".join(strange[:NUM_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return printable(f"it asks for {listed}, which no weights need: do not open it")
