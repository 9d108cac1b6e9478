"""Durable writing of files: whatever happens, a file is on disk whole, or not at all.

A file is written under a temporary name beside its place, flushed to the disk, then renamed, and
the folder flushed. What a crash leaves behind is known by its name; `recurra.storage.leftovers`
clears it where that is ours to do.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "Content",
    "Sink",
    "abandon",
    "append",
    "beside",
    "create",
    "is_stream",
    "json_bytes",
    "make_directory",
    "remove_directories",
    "remove_file",
    "sha256",
    "sync_directory",
    "sync_file",
    "token",
    "write_bytes",
    "write_json",
]

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


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
    sink = _write(os.open(path, flags, 0o666), content, sync=True)
    return sink.size, sink.digest.hexdigest()


def _write(descriptor: int, content: Content, sync: bool = False) -> _HashingSink:
    """Write all of `content` and close."""
    try:
        sink = _HashingSink(descriptor)
        if callable(content):
            content(sink)
        else:
            sink.write(content)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sink


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
    return path.with_name(f"{path.name}.{mark}-{token()}")


def token() -> str:
    """Return eight random hexadecimal digits that are no date: a letter is among them.

    Example:
        >>> len(token())
        8
    """
    while (drawn := secrets.token_hex(4)).isdecimal():
        pass
    return drawn


def remove_file(path: Path) -> None:
    """Remove a file, or a link and not what it leads to, if it is there.

    Args:
        path: what goes.

    Raises:
        OSError: when the system refuses.

    Example:
        >>> remove_file(Path("nowhere"))
    """
    path.unlink(missing_ok=True)


def remove_directories(paths: Iterable[Path]) -> None:
    """Remove directories that are empty, one after another.

    Args:
        paths: the innermost first.

    Raises:
        OSError: one is not empty, or the system refuses.

    Example:
        >>> remove_directories([])
    """
    for path in paths:
        path.rmdir()


def write_bytes(path: Path, content: Content) -> None:
    """Write a file so that `path` always holds all of the old content or all of the new.

    Where `path` is a link, what it leads to is written; what is no regular file, as a terminal or
    a pipe, is written to as it is.

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
    if is_stream(path):
        _write(os.open(path, os.O_WRONLY), content)
        return
    place = path.resolve() if path.is_symlink() else path
    unfinished = beside(place, "tmp")
    _unfinished.add(unfinished)
    try:
        create(unfinished, content)
        unfinished.replace(place)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            remove_file(unfinished)
        raise
    finally:
        _unfinished.discard(unfinished)
    sync_directory(place.parent)


_unfinished: set[Path] = set()  # only while they are being written


def abandon() -> None:
    """Delete the files that any thread has not finished writing; the process is about to end.

    Example:
        >>> abandon()
    """
    for path in list(_unfinished):
        with suppress(OSError):
            remove_file(path)


def is_stream(path: Path) -> bool:
    """Return whether a path leads to what bytes go into and are not kept, as `/dev/stdout`.

    Args:
        path: anything.

    Example:
        >>> is_stream(Path("nowhere"))
        False
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def append(path: Path, data: bytes) -> int:
    """Add bytes to the end of a file, made if missing; return how many went there.

    Args:
        path: a regular file or nothing; a link is not followed.
        data: of which a part may be written, where the disk is nearly full.

    Raises:
        OSError: when the disk refuses; the file is as before, where that can be.

    Example:
        >>> import tempfile
        >>> append(Path(tempfile.mkdtemp()) / "log", b"a line")
        6
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINK | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    size = os.fstat(descriptor).st_size
    try:
        return os.write(descriptor, data)
    except OSError:
        with suppress(OSError):  # some disks keep the beginning of what they refuse
            os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk, if it is there.

    Args:
        path: a regular file.

    Raises:
        OSError: when the disk refuses.

    Example:
        >>> sync_file(Path("nowhere"))
    """
    try:
        descriptor = os.open(path, os.O_RDWR | _NO_LINK)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
