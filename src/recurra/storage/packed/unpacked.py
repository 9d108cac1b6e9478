"""What is packed by gzip, bzip2 or xz, read as what was packed."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from typing import BinaryIO, Protocol

__all__ = ["BUFFER", "LONGEST_MARK", "Unpacked", "packing_of"]

READ, BUFFER = 1 << 15, 1 << 18  # bytes at once, of what is packed and of what was
PADDING = 1 << 20  # bytes of zeros that may follow what is packed, as on a tape
MOST_EMPTY = 1_000  # packed pieces of nothing, one after the other
GZIP = 31  # what zlib calls the format
MOST_DICTIONARY = 256 << 20  # bytes that unpacking xz may take
LONGEST_MARK = 10  # bytes by which a packing is known
MARKS = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "bzip2": re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
}


def packing_of(head: bytes) -> str | None:
    """Return what a file was packed by: `"gzip"`, `"bzip2"`, `"xz"`, or None.

    Args:
        head: its first bytes, `LONGEST_MARK` or more.

    Example:
        >>> packing_of(bz2.compress(b"text")), packing_of(b"text")
        ('bzip2', None)
    """
    return next((name for name, mark in MARKS.items() if mark.match(head)), None)


class _Member(Protocol):
    """One of the pieces, each whole by itself, that packed files may be put together from."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """A member of gzip as those of bzip2 and xz are; zlib hands back what it did not take."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(GZIP)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _member(packing: str) -> _Member:
    if packing == "gzip":
        return _Gzip()
    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_DICTIONARY)


class Unpacked(io.RawIOBase):
    """What a packed file holds; the standard library's reader crawls over long padding.

    Args:
        file: at its beginning.
        packing: as `packing_of` tells it.

    Example:
        >>> io.BufferedReader(Unpacked(io.BytesIO(lzma.compress(b"text")), "xz")).read()
        b'text'
    """

    def __init__(self, file: BinaryIO, packing: str) -> None:
        self._file = file
        self._packing = packing
        self._held = b""  # read, and not given to a member yet
        self._member = _member(packing)
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
            EOFError: the file ends too early, or is damaged.
        """
        while True:
            ended = False
            if not self._held and self._member.needs_input:
                self._held = self._file.read(READ)
                ended = not self._held
            if self._ended and not self._begun:
                self._skip_padding()
            if not (self._begun or self._held):
                if ended:
                    return 0
                continue
            self._begun = True
            data = self._next(len(buffer))
            self._empty = 0 if data else self._empty + self._member.eof
            if self._empty > MOST_EMPTY:
                raise EOFError("what is packed is empty again and again")
            if self._member.eof:
                self._held = self._member.unused_data
                self._member, self._begun = _member(self._packing), False
                self._ended = True
            elif ended and not data:
                raise EOFError("it ends before its end is marked")
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _next(self, most: int) -> bytes:
        given, self._held = self._held, b""
        try:
            return self._member.decompress(given, most)
        except (zlib.error, lzma.LZMAError, OSError) as error:
            raise EOFError(str(error)) from error

    def _skip_padding(self) -> None:
        rest = self._held.lstrip(b"\0")
        self._padding += len(self._held) - len(rest)
        self._held = rest
        if self._padding > PADDING:
            raise EOFError("zeros follow it")
