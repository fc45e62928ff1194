"""A file that contains its own SHA-256, which is compared before one byte of it is parsed.

Bytes 0..7 are the header's length (little-endian), bytes 8..34 the start of the header, bytes
35..98 the digest in hex, then the rest of the header and the data. The digest is that of the whole
file with its own 64 digits as '0'. Knows neither tensors nor JSON.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import queue
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cnnlab import system, threads
from cnnlab.errors import CheckpointError, ResourceError
from cnnlab.files import atomic, foreign
from cnnlab.safe_output import escape_control

HEADER_START = foreign.OWN_HEADER
BLANK_DIGEST = b"0" * 64
MAX_HEADER_BYTES = 8 << 20
_LENGTH_BYTES = 8
_DIGEST_START = _LENGTH_BYTES + len(HEADER_START)
_DIGEST_END = _DIGEST_START + len(BLANK_DIGEST)
_CHUNK_BYTES = 1 << 20
_WORTH_A_THREAD_BYTES = 8 << 20
_PIECES_WAITING = 16
_Update = Callable[[memoryview], None]


def write(path: str | Path, header: bytes, data: Iterable[memoryview], data_bytes: int) -> None:
    """Write length, header and data as one checksummed file, atomically.

    header: starts with HEADER_START and BLANK_DIGEST; its length is a multiple of 8. data: read
    once, piece by piece. Raises ResourceError as `atomic.replacing` does.
    """
    assert header.startswith(HEADER_START + BLANK_DIGEST)
    assert len(header) % 8 == 0
    if len(header) > MAX_HEADER_BYTES:
        raise ResourceError(f"the checkpoint's header has {len(header):,} bytes", str(path))

    start = len(header).to_bytes(_LENGTH_BYTES, "little") + header
    digest = hashlib.sha256(start)
    with atomic.replacing(path, len(start) + data_bytes) as file:
        file.write(start)
        with _updating_in_thread(digest.update, data_bytes) as update:
            for piece in data:
                update(piece)
                file.write(piece)
        assert file.num_bytes == len(start) + data_bytes
        file.write_at(_DIGEST_START, digest.hexdigest().encode())


def verify(path: str | Path) -> None:
    """Read the whole file and compare its digest, in constant memory.

    Raises CheckpointError when the file is missing, not cnnlab's or damaged.
    """
    with _opened(path) as (descriptor, size):
        scratch = memoryview(bytearray(min(size, _CHUNK_BYTES)))
        _compare(path, descriptor, size, lambda start, end: scratch[: end - start])


def read(path: str | Path) -> tuple[bytes, memoryview]:
    """Return (header, data) of a file whose digest matches; the header's digest is blank.

    The file is read once, through one descriptor, into one buffer that is hashed and returned:
    nothing can change between the comparison and the use. The data is a writable view of it.
    Raises CheckpointError as `verify` does, ResourceError for a lack of memory.
    """
    with _opened(path) as (descriptor, size):
        buffer = _allocate(path, size)
        _compare(path, descriptor, size, lambda start, end: buffer[start:end])

    end = _LENGTH_BYTES + int.from_bytes(buffer[:_LENGTH_BYTES], "little")
    header = HEADER_START + BLANK_DIGEST + bytes(buffer[_DIGEST_END:end])
    return header, buffer[end:]


@contextlib.contextmanager
def _updating_in_thread(update: Callable[[memoryview], None], num_bytes: int) -> Iterator[_Update]:
    """Give a function that calls `update` in a thread; the end of the block waits for the rest.

    Hashing and writing both release the GIL, so that a save takes the time of the slower one. A few
    pieces are queued in between; little data is not worth a thread.
    """
    if num_bytes < _WORTH_A_THREAD_BYTES:
        yield update
        return
    waiting: queue.Queue[memoryview | None] = queue.Queue(_PIECES_WAITING)
    failed: list[BaseException] = []

    def take() -> None:
        while (piece := waiting.get()) is not None:
            try:
                update(piece)
            except BaseException as error:  # raised below; further pieces are dropped
                failed.append(error)

    thread = threads.BackgroundThread(take, "digest", stop=lambda: waiting.put(None))
    try:
        yield waiting.put
    finally:
        thread.end()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[int, int]]:
    """Open a regular file, never waiting for a pipe; translate the system's errors."""
    where = escape_control(str(path))

    try:
        descriptor = os.open(path, os.O_RDONLY | system.NO_WAIT | system.PRIVATE)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"a checkpoint is a file, this is {_kind(status)}", where)
            yield descriptor, status.st_size
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: OSError | ValueError) -> CheckpointError | ResourceError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return CheckpointError(
            "there is no such checkpoint", where, "`cnnlab list runs` shows some"
        )
    if number in atomic.NO_HANDLES:
        return ResourceError("too many open files", where, "raise the limit: ulimit -n 4096")
    reason = os.strerror(number) if number else str(error)
    return CheckpointError(f"cannot read the checkpoint: {escape_control(reason)}", where)


def _kind(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(status.st_mode) else "a device or socket"


def _allocate(path: str | Path, size: int) -> memoryview:
    """Reserve memory that the system provides only as it is filled."""
    try:
        return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except (OSError, OverflowError, MemoryError, ValueError) as error:
        if size == 0:
            raise foreign.refusal(path, b"") from error
        message = f"{size:,} bytes of memory are needed to read the checkpoint"
        raise ResourceError(message, escape_control(str(path))) from error


def _compare(
    path: str | Path, descriptor: int, size: int, place: Callable[[int, int], memoryview]
) -> None:
    """Read bytes [start, end) into place(start, end), piece by piece, and compare the digest."""
    head = place(0, min(size, _DIGEST_END))
    _fill(path, descriptor, head)
    stored = _stored_digest(path, descriptor, bytes(head), size)

    digest = hashlib.sha256(bytes(head[:_DIGEST_START]) + BLANK_DIGEST)
    for start in range(_DIGEST_END, size, _CHUNK_BYTES):
        piece = place(start, min(start + _CHUNK_BYTES, size))
        _fill(path, descriptor, piece)
        digest.update(piece)

    # a byte beyond the size: the file grew while it was read
    if digest.hexdigest().encode() != stored or os.read(descriptor, 1):
        raise CheckpointError(
            "the checkpoint is damaged: its content does not match its SHA-256",
            escape_control(str(path)),
            "use another checkpoint of the run, or a copy of this one",
        )


def _fill(path: str | Path, descriptor: int, target: memoryview) -> None:
    while target:
        taken = system.read_into(descriptor, target)
        if taken == 0:
            raise CheckpointError(
                "the checkpoint shrank while it was read", escape_control(str(path))
            )
        target = target[taken:]


def _stored_digest(path: str | Path, descriptor: int, head: bytes, size: int) -> bytes:
    """Return the digest in a file's first bytes. Raises CheckpointError where there is none."""
    header_bytes = int.from_bytes(head[:_LENGTH_BYTES], "little")
    if len(head) < _DIGEST_END or head[_LENGTH_BYTES:_DIGEST_START] != HEADER_START:
        raise foreign.refusal(path, system.read_at(descriptor, foreign.LOOK_BYTES, 0))
    if not len(HEADER_START) < header_bytes <= min(size - _LENGTH_BYTES, MAX_HEADER_BYTES):
        raise CheckpointError(
            "the checkpoint is damaged: its first bytes give an impossible length",
            escape_control(str(path)),
        )
    return head[_DIGEST_START:_DIGEST_END]
