"""A lock that ends with its process: who holds it alone writes to a folder."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recurra.errors import RunError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["is_lock", "lock"]

BEYOND_TEXT = 2**20  # bytes; where Windows locks, clear of the text that others read
HELD = re.compile(rb"\d{0,19}\n?")
"""What a lock of ours holds: the process that has it."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def lock(path: Path) -> Iterator[Callable[[], bool]]:
    """Hold `path` as a lock that ends with the block, or with the process however it dies.

    Gives a function that says whether the lock still lies at `path`, as it does not where its
    folder was renamed or removed.

    Args:
        path: a file, made if missing.

    Raises:
        RunError: at once, when another holds it, which is named; or when it is no lock of ours,
            which is left as it is.

    Example:
        >>> import tempfile
        >>> with lock(Path(tempfile.mkdtemp()) / "lock") as still_there:
        ...     print(still_there())
        True
    """
    descriptor = _held(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield lambda: _is_at(descriptor, path)
    finally:
        os.close(descriptor)


def is_lock(path: Path) -> bool:
    """Return whether a file is a lock of ours, held or not.

    Args:
        path: of a file that may be missing, which is none.

    Example:
        >>> is_lock(Path("nowhere"))
        False
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return _is_ours(descriptor)
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > 20:
        return False
    return HELD.fullmatch(os.read(descriptor, 20)) is not None


def _held(path: Path) -> int:
    """Return the descriptor of a lock that is held now."""
    while True:
        if os.path.lexists(path) and not is_lock(path):
            raise RunError(f"{path} is there already and is no lock of Recurra; move it away")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        try:
            if not _try_lock(descriptor):
                holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
                raise RunError(
                    f"{path.parent} is in use by process {holder}, which holds {path.name}: "
                    "wait until it ends, or choose another directory"
                )
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it before removed it: a new one has its name


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, BEYOND_TEXT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
