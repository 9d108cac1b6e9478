"""Files of anyone, opened for reading: what is packed has a cap, JSON is strict, nothing blocks."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.storage.packed.unpacked import BUFFER, LONGEST_MARK, Unpacked, packing_of
from recurra.storage.packed.utf8 import HEAD, Recoded, marked_encoding, no_text

__all__ = [
    "MOST_JSON",
    "SETTING",
    "most_bytes",
    "most_unpacked",
    "numbered_lines",
    "opened",
    "parsed",
    "plain",
    "read_json",
    "regular_size",
    "skip",
    "unpacked",
    "without_repeats",
]

MOST, LEAST = 1 << 30, 16 << 20  # bytes
RATIO = 32  # to which data of numbers and words are rarely packed, and bombs always
MOST_JSON = 2**20  # bytes; bounds the memory that reading a hostile file can cost
SETTING = "RECURRA_MOST_MB"
"""The variable by which a user allows more, in millions of bytes."""


def most_bytes(default: int) -> int:
    """Return how many bytes something may hold once it is read whole or unpacked.

    Args:
        default: what is enough for all that is honest; `RECURRA_MOST_MB`, in millions of bytes,
            raises it, and never lowers it.

    Raises:
        ConfigError: the environment sets no whole number.

    Example:
        >>> most_bytes(64_000_000)
        64000000
    """
    said = os.environ.get(SETTING, "0")
    if not said.isdecimal():
        raise ConfigError(f"{SETTING} is {said!r:.40}, but must be a whole number, as 500")
    return max(default, int(said) * 1_000_000)


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
def opened(path: Path, pipes: bool = False) -> Iterator[io.BufferedReader[Any]]:
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
def unpacked(path: Path, pipes: bool = False) -> Iterator[io.BufferedReader[Any]]:
    """Open a file for reading; what gzip, bzip2 or xz packed is unpacked, whatever its name says.

    What is packed is unpacked once before, to see that it is whole and how large it is.

    Args:
        path: of a regular file; a link may lead to it.
        pipes: as `opened` takes it; nothing packed comes through one.

    Raises:
        ConfigError: the setting of what may be unpacked is none.
        DataError: it cannot be read, is something else, is damaged, or unpacks to too much.

    Example:
        >>> import gzip, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.csv"
        >>> _ = path.write_bytes(gzip.compress(b"1"))
        >>> with unpacked(path) as file:
        ...     print(file.read())
        b'1'
    """
    with opened(path, pipes) as file:
        packing = packing_of(file.peek(LONGEST_MARK))
        if packing is None:
            yield file
            return
        if not file.seekable():
            raise DataError(
                f"{path} is packed by {packing}, which a pipe cannot be; unpack it first"
            )
        try:
            _require_bounded(file, path, packing)
            file.seek(0)
            with io.BufferedReader(Unpacked(file, packing), BUFFER) as whole:
                yield whole
        except EOFError as error:
            raise DataError(
                f"{path} cannot be read: the packed file {path.name} is cut off or damaged: {error}"
            ) from error


@contextmanager
def plain(path: Path, pipes: bool = False) -> Iterator[io.BufferedReader[Any]]:
    """Open a text for reading as UTF-8: unpacked, and recoded where it is marked as UTF-16 or -32.

    A byte-order mark of UTF-8 itself stays.

    Args:
        path: of a regular file; a link may lead to it.
        pipes: as `unpacked` takes it.

    Raises:
        ConfigError: as `unpacked`.
        DataError: as `unpacked`; or it is clearly no text, or in an encoding that is not marked.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "text.txt"
        >>> _ = path.write_text("né", encoding="utf-16")
        >>> with plain(path) as file:
        ...     print(file.read().decode())
        né
    """
    with unpacked(path, pipes) as file:
        head = file.peek(HEAD)[:HEAD]
        if encoding := marked_encoding(head):
            with io.BufferedReader(Recoded(file, encoding, str(path)), BUFFER) as whole:
                yield whole
        elif told := no_text(head):
            raise DataError(f"{path} {told}")
        else:
            yield file


def skip(file: io.BufferedReader, count: int) -> int:
    """Pass over bytes of a file that is at its beginning; return how many there were.

    Args:
        file: as `opened`, `unpacked` or `plain` give it.
        count: most bytes to pass over.

    Example:
        >>> file = io.BufferedReader(io.BytesIO(b"text"))
        >>> skip(file, 2), file.read()
        (2, b'xt')
    """
    if file.seekable():
        return file.seek(min(count, file.seek(0, io.SEEK_END)))
    passed = 0
    while passed < count and (block := file.read(min(BUFFER, count - passed))):
        passed += len(block)
    return passed


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


def _require_bounded(file: io.BufferedReader, path: Path, packing: str) -> None:
    """Unpack everything, and keep nothing of it."""
    size = os.fstat(file.fileno()).st_size
    most, total = most_unpacked(size), 0
    whole, buffer = Unpacked(file, packing), memoryview(bytearray(BUFFER))
    while count := whole.readinto(buffer):
        total += count
        if total > most:
            raise DataError(
                f"{path} unpacks to more than {most >> 20:,} MiB, from {size:,} bytes; if you "
                f"trust it, set {SETTING} to the megabytes that it may have, or unpack it first"
            )


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


def regular_size(path: Path) -> int:
    """Return a regular file's size in bytes; a link may lead anywhere and a pipe may block.

    Args:
        path: the file.

    Raises:
        CheckpointError: when it is missing, or anything but a regular file.

    Example:
        >>> regular_size(Path("nowhere"))
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere is missing
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        found = stat.filemode(status.st_mode)
        raise CheckpointError(f"{path}: expected a regular file, found {found}")
    return status.st_size


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return JSON's pairs as a dict; for `object_pairs_hook`.

    Args:
        pairs: keys and values in the order of the text.

    Raises:
        ValueError: for a key that is there twice, as readers differ in which one they take.

    Example:
        >>> json.loads('{"a": 1}', object_pairs_hook=without_repeats)
        {'a': 1}
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key that is there twice")
    return found


def parsed(text: bytes, *, finite: bool = True) -> Any:
    """Return what JSON says, read as strictly as a hostile file asks for.

    Args:
        text: in UTF-8.
        finite: whether every number must be finite: `NaN`, `Infinity` and `1e999` are refused.

    Raises:
        ValueError: it is no JSON, nests too deep, has a key twice or such a number, or a whole
            number of more than 64 bits.

    Example:
        >>> parsed(b'{"count": 1e999}')
        Traceback (most recent call last):
        ValueError: the number 1e999, which is not finite
    """
    number = _finite if finite else float
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=without_repeats,
            parse_int=_whole,
            parse_float=number,
            parse_constant=number,
        )
    except RecursionError:
        raise ValueError("lists in lists without end") from None


def _whole(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**64:
        raise ValueError(f"the number {text:.40}, which has more than 64 bits")
    return number


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text:.40}, which is not finite")
    return number


def read_json(path: Path, *, finite: bool = True) -> Any:
    """Return what a JSON file of a model or checkpoint holds.

    Args:
        path: a regular file of at most 1 MiB.
        finite: whether every number must be finite.

    Raises:
        CheckpointError: when it is missing, a link, larger, not JSON, or has a key twice.

    Example:
        >>> read_json(Path("nowhere.json"))
        Traceback (most recent call last):
        recurra.errors.CheckpointError: nowhere.json is missing
    """
    if (size := regular_size(path)) > MOST_JSON:
        raise CheckpointError(f"{path}: expected at most {MOST_JSON} bytes, found {size}")
    try:
        return parsed(path.read_bytes(), finite=finite)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: expected JSON, found {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
