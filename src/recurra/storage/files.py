"""Durable writing of files: whatever happens, a file is on disk whole, or not at all.

A file is written under a temporary name beside its place, flushed to the disk, then renamed, and
the folder flushed. What a crash leaves behind is known by its name, and `sweep` clears it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from recurra.errors import RunError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "Content",
    "Sink",
    "abandon",
    "beside",
    "create",
    "delete",
    "json_bytes",
    "lock",
    "make_directory",
    "sha256",
    "sweep",
    "sync_directory",
    "temporary",
    "write_bytes",
    "write_json",
]

BEYOND_TEXT = 2**20  # bytes; where Windows locks, clear of the text that others read
LEFT_OVER = re.compile(r"(.+)\.(tmp|old)-[0-9a-f]{8}")


class Sink(Protocol):
    """Where the bytes of a file go."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Append all of a contiguous buffer and return how many bytes it had."""
        ...


Content = bytes | Callable[[Sink], object]  # the bytes, or a function that writes them piecewise


class _HashingSink:
    """Writes straight to a descriptor and hashes on the way, so that no byte is copied."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> int:
        view = memoryview(data)
        size = view.nbytes
        if size:  # an empty view cannot be cast
            rest = view.cast("B")
            self.digest.update(rest)
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        self.size += size
        return size


def create(path: Path, content: Content) -> tuple[int, str]:
    """Create a file, force it to the disk, and return its size in bytes and its SHA-256.

    Args:
        path: a name that is free.
        content: the bytes, or a function that writes them to the sink it is given.

    Raises:
        FileExistsError: when the name is taken.
        OSError: when the disk refuses; part of the file may be there.

    Example:
        >>> import tempfile
        >>> create(Path(tempfile.mkdtemp()) / "new", b"hello")[0]
        5
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        sink = _HashingSink(descriptor)
        if callable(content):
            content(sink)
        else:
            sink.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sink.size, sink.digest.hexdigest()


def sync_directory(path: Path) -> None:
    """Force the names in a directory to the disk, on systems where that can be asked.

    Args:
        path: a directory.

    Raises:
        OSError: when the disk refuses.

    Example:
        >>> sync_directory(Path())
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what some network systems answer
            raise
    finally:
        os.close(descriptor)


def beside(path: Path, mark: str) -> Path:
    """Return a free name beside `path` that `sweep` knows for a left-over.

    Args:
        path: what it stands for.
        mark: `"tmp"` for what is not finished, `"old"` for what is being replaced.

    Example:
        >>> beside(Path("model"), "tmp").name[:10]
        'model.tmp-'
    """
    return path.with_name(f"{path.name}.{mark}-{secrets.token_hex(4)}")


def delete(path: Path) -> None:
    """Delete a file, a link or a whole directory, if it is there.

    Args:
        path: what goes.

    Raises:
        OSError: when the system refuses.

    Example:
        >>> delete(Path("nowhere"))
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Give a name beside `path` under which to build it; a failure leaves nothing there.

    Args:
        path: the final place.

    Example:
        >>> with temporary(Path("model")) as unfinished:
        ...     print(unfinished.exists())
        False
    """
    unfinished = beside(path, "tmp")
    _unfinished.add(unfinished)
    try:
        yield unfinished
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell; sweep comes later
            delete(unfinished)
        raise
    finally:
        _unfinished.discard(unfinished)


_unfinished: set[Path] = set()  # only while they are being written


def abandon() -> None:
    """Delete what any thread has not finished writing; the process is about to end.

    Example:
        >>> abandon()
    """
    for path in list(_unfinished):
        with suppress(OSError):
            delete(path)


def write_bytes(path: Path, content: Content) -> None:
    """Write a file so that `path` always holds all of the old content or all of the new.

    Args:
        path: the file; its folder must be there.
        content: the bytes, or a function that writes them to the sink it is given.

    Raises:
        OSError: when the disk refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "greeting.txt"
        >>> write_bytes(path, b"hello")
        >>> path.read_bytes()
        b'hello'
    """
    with temporary(path) as unfinished:
        create(unfinished, content)
        unfinished.replace(path)
        sync_directory(path.parent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def json_bytes(value: Any, *, line: bool = False) -> bytes:
    """Return indented JSON in UTF-8, non-finite numbers as `null`, a newline at the end.

    Args:
        value: what `json.dumps` takes.
        line: in one line, not indented.

    Example:
        >>> json_bytes({"perplexity": float("inf")})
        b'{\\n  "perplexity": null\\n}\\n'
    """
    text = json.dumps(
        _finite(value), indent=None if line else 2, ensure_ascii=False, allow_nan=False
    )
    return f"{text}\n".encode("utf-8", "backslashreplace")  # a lone surrogate becomes \udxxx


def write_json(path: Path, value: Any) -> None:
    """Write `json_bytes(value)`; `path` always holds all of the old content or all of the new.

    Args:
        path: the file; its folder must be there.
        value: what `json.dumps` takes; non-finite numbers become `null`.

    Raises:
        OSError: when the disk refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "report.json"
        >>> write_json(path, {"steps": 3})
        >>> json.loads(path.read_text())
        {'steps': 3}
    """
    write_bytes(path, json_bytes(value))


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, so that their names survive a power loss.

    Args:
        path: may be there already.

    Raises:
        OSError: when it cannot be made, as when a file is in its place.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run" / "checkpoints"
        >>> make_directory(path)
        >>> path.is_dir()
        True
    """
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def sweep(parent: Path) -> list[Path]:
    """Clear what interrupted writes left in `parent`; return the paths that were removed.

    A directory that had stepped aside for a new one that never came is put back. Only the
    process that holds the lock of a directory may sweep it.

    Args:
        parent: a directory, or nothing at all.

    Raises:
        OSError: when something cannot be removed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "model.tmp-0123abcd").mkdir()
        >>> [path.name for path in sweep(folder)]
        ['model.tmp-0123abcd']
    """
    removed = []
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        if match := LEFT_OVER.fullmatch(path.name):
            place = path.with_name(match[1])
            if match[2] == "old" and not os.path.lexists(place):
                path.rename(place)
            else:
                delete(path)
                removed.append(path)
    return removed


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal, reading it piece by piece.

    Args:
        path: a file.

    Raises:
        OSError: when it cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty"
        >>> path.touch()
        >>> sha256(path)[:16]
        'e3b0c44298fc1c14'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold `path` as a lock that ends with the block, or with the process however it dies.

    Args:
        path: a file, made if missing and never removed, as that would let two hold it.

    Raises:
        RunError: at once, when another holds it; names the process.

    Example:
        >>> import tempfile
        >>> with lock(Path(tempfile.mkdtemp()) / "lock"):
        ...     print("alone")
        alone
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _try_lock(descriptor):
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise RunError(
                f"{path.parent} is in use by process {holder}, which holds {path.name}: "
                "wait until it ends, or choose another directory"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
