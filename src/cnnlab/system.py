"""What differs between operating systems: flags of files, locks, limits, memory, signals.

The one place that names what some systems lack. Modules such as fcntl and resource are imported
when they are needed, so that cnnlab imports everywhere. Run on Linux; macOS and
Windows were not run: what is here for them is written from their documentation.
"""

import os
import signal
import sys
from pathlib import Path

PRIVATE: int = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY"))
"""Flags of `os.open` for a file that other programs do not inherit, byte for byte.

Windows inherits, and changes the ends of lines, unless told otherwise.
"""

NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open`: a symbolic link is refused, where the system can."""

NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
"""Flag of `os.open`: a pipe without a writer is not waited for; Windows has none in folders."""

NO_TERMINAL: int = getattr(os, "O_NOCTTY", 0)
"""Flag of `os.open`: a terminal does not become that of this process."""

FOLDER: int | None = getattr(os, "O_DIRECTORY", None)
"""Flag of `os.open` for a folder; None on Windows, which opens none."""

KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
"""What ends a process at once; Windows ends it at once for any signal."""

_LOCKED_BYTE = 1 << 30
"""On Windows: a lock is on bytes, which others cannot read; files with a lock are shorter."""


def lock(descriptor: int, *, shared: bool = False) -> None:
    """Take the lock of an open file, which closing it or the end of the process releases.

    Does not wait: raises OSError with EWOULDBLOCK or EACCES while another process holds it, with
    another number where the disk has no locks. shared: together with other shared ones; Windows has
    none, so it is taken alone there.
    """
    try:
        import fcntl
    except ImportError:
        _lock_byte(descriptor)
        return
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _lock_byte(descriptor: int) -> None:
    import msvcrt

    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]


def read_into(descriptor: int, target: memoryview) -> int:
    """Read from an open file into memory; return how many bytes there were."""
    if hasattr(os, "readv"):
        return os.readv(descriptor, [target])
    data = os.read(descriptor, len(target))
    target[: len(data)] = data
    return len(data)


def read_at(descriptor: int, num_bytes: int, offset_bytes: int) -> bytes:
    """Return at most so many bytes of an open file; without pread its position moves."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, num_bytes, offset_bytes)
    os.lseek(descriptor, offset_bytes, os.SEEK_SET)
    return os.read(descriptor, num_bytes)


def write_at(descriptor: int, data: bytes, offset_bytes: int) -> int:
    """Write into an open file, whose position stays; return how many bytes were taken."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset_bytes)
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, offset_bytes, os.SEEK_SET)
    taken = os.write(descriptor, data)
    os.lseek(descriptor, position, os.SEEK_SET)
    return taken


def is_gone(pid: int) -> bool:
    """Return whether a process of this machine has ended; False where the system does not tell."""
    if sys.platform == "win32":
        return False  # signal 0 is Ctrl-C there
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except OSError:
        return False  # another user's process, or a system without /proc


def most_open_files() -> int | None:
    """Return how many files this process may open; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process took; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB on Linux


def free_memory_bytes() -> int | None:
    """Return the memory that is free now; None where the system does not tell, as macOS."""
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
