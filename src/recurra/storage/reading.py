"""A file of anyone's opened for reading: what is packed has a cap, what could block is refused."""

from __future__ import annotations

import errno
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from recurra.errors import DataError
from recurra.storage.limits import SETTING, most_bytes

__all__ = ["most_unpacked", "numbered_lines", "opened", "unpacked"]

MOST, LEAST = 1 << 30, 16 << 20  # bytes
RATIO = 32  # to which data of numbers and words are rarely packed, and bombs always
READ, UNPACKED = 1 << 15, 1 << 18  # bytes at once
PADDING = 1 << 20  # bytes of zeros that may follow what is packed, as on a tape
MOST_EMPTY = 1_000  # packed pieces of nothing, one after the other
GZIP = 31  # what zlib calls the format


def most_unpacked(packed: int, least: int | None = None) -> int:
    """Return how many bytes something packed may unpack to.

    By default 32 times its size, but 16 MiB at least and 1 GiB at most; `$RECURRA_MOST_MB` raises
    it.

    Args:
        packed: its size, in bytes.
        least: what it may unpack to however small it is, in bytes.

    Raises:
        ConfigError: the variable is no whole number.

    Example:
        >>> most_unpacked(1000) == 2**24, most_unpacked(2**22) == 2**27
        (True, True)
    """
    return most_bytes(min(MOST, max(LEAST if least is None else least, RATIO * packed)))


@contextmanager
def opened(path: Path, pipes: bool = False) -> Iterator[BinaryIO]:
    """Open a file for reading, as it is.

    Args:
        path: of a regular file; a link may lead to it.
        pipes: whether a pipe or a terminal, which can be read but once, will do as well.

    Raises:
        DataError: it cannot be read, or is something else, as a device without an end.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.csv"
        >>> _ = path.write_text("1")
        >>> with opened(path) as file:
        ...     print(file.read())
        b'1'
    """
    try:
        _require(path, pipes)
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; what its name says is packed by gzip is unpacked on the way.

    What is packed is unpacked once before, to see that it is whole and how large it is.

    Args:
        path: of a regular file; a link may lead to it.

    Raises:
        ConfigError: the setting of what may be unpacked is none.
        DataError: it cannot be read, is something else, is damaged, or unpacks to too much.

    Example:
        >>> import gzip, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.csv.gz"
        >>> _ = path.write_bytes(gzip.compress(b"1"))
        >>> with unpacked(path) as file:
        ...     print(file.read())
        b'1'
    """
    with opened(path) as file:
        if not path.name.endswith(".gz"):
            yield file
            return
        try:
            _require_bounded(file, path)
            file.seek(0)
            with io.BufferedReader(_Unpacked(file), UNPACKED) as whole:
                yield whole
        except (EOFError, zlib.error) as error:
            raise DataError(
                f"{path} cannot be read: the packed file {path.name} is cut off or damaged: {error}"
            ) from error


def _require(path: Path, pipes: bool) -> None:
    """Refuse what is of a kind that could be read without an end."""
    try:
        status = path.stat()
    except ValueError as error:
        raise DataError(f"{path!s:.80} cannot be read: {error}") from error
    mode, size = status.st_mode, status.st_size
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    there = 512 * getattr(status, "st_blocks", size)
    if stat.S_ISREG(mode) and size > LEAST + RATIO * there:
        raise DataError(
            f"{path} is {size:,} bytes, of which {there:,} are on the disk: the rest is a hole "
            "that says nothing"
        )
    piped = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    if stat.S_ISREG(mode) or (pipes and (piped or _is_terminal(path, mode))):
        return
    wanted = "a regular file or a pipe" if pipes else "a regular file; save it as one first"
    raise DataError(f"{path} is no regular file but {stat.filemode(mode)}, expected {wanted}")


def _is_terminal(path: Path, mode: int) -> bool:
    if not stat.S_ISCHR(mode):
        return False
    with path.open("rb", buffering=0) as file:
        return file.isatty()


def _require_bounded(file: BinaryIO, path: Path) -> None:
    """Unpack everything, and keep nothing of it."""
    size = os.fstat(file.fileno()).st_size
    most, total = most_unpacked(size), 0
    whole, buffer = _Unpacked(file), memoryview(bytearray(UNPACKED))
    while count := whole.readinto(buffer):
        total += count
        if total > most:
            raise DataError(
                f"{path} unpacks to more than {most >> 20:,} MiB, from {size:,} bytes; if you "
                f"trust it, set {SETTING} to the megabytes that it may have, or unpack it first"
            )


class _Unpacked(io.RawIOBase):
    """What a file packed by gzip holds; the standard library's reader crawls over long padding.

    Args:
        file: at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = b""
        self._member = zlib.decompressobj(GZIP)
        self._begun = self._ended = False  # whether this member has, and one before it
        self._padding = 0
        self._empty = 0  # members, one after the other

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Put what comes next into a buffer and return its length; 0 is the end.

        Args:
            buffer: of bytes.

        Raises:
            EOFError: the file ends too early.
        """
        while True:
            self._held = self._held or self._file.read(READ)
            ended = not self._held
            if self._ended and not self._begun:
                self._skip_padding()
            if ended and not self._begun:
                return 0
            if not self._held and not ended:
                continue
            self._begun = True
            data = self._member.decompress(self._held, len(buffer))
            self._held = self._member.unconsumed_tail
            self._empty = 0 if data else self._empty + self._member.eof
            if self._empty > MOST_EMPTY:
                raise EOFError("what is packed is empty again and again")
            if self._member.eof:
                self._held = self._member.unused_data
                self._member, self._begun, self._ended = zlib.decompressobj(GZIP), False, True
            elif ended and not data:
                raise EOFError("it ends before its end is marked")
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _skip_padding(self) -> None:
        rest = self._held.lstrip(b"\0")
        self._padding += len(self._held) - len(rest)
        self._held = rest
        if self._padding > PADDING:
            raise EOFError("zeros follow it")


def numbered_lines(path: Path, longest: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, their ends included, with their numbers from 1.

    Args:
        path: of a regular file, packed or not.
        longest: bytes that a line may have.

    Raises:
        DataError: as `unpacked`; or a line is longer.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lines.txt"
        >>> _ = path.write_bytes(b"one\\ntwo")
        >>> list(numbered_lines(path, 10))
        [(1, b'one\\n'), (2, b'two')]
    """
    with unpacked(path) as file:
        number = 0
        while line := file.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise DataError(f"{path}, line {number} is longer than {longest:,} bytes")
            yield number, line
