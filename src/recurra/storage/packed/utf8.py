"""What the first bytes of a file that should be a text tell: its encoding, or that it is none."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from recurra.errors import DataError

__all__ = ["HEAD", "Recoded", "marked_encoding", "no_text"]

HEAD = 4096  # bytes that are looked at
READ = 1 << 16  # bytes
LEAST = 16  # bytes from which zeros tell an encoding
MARKS = {  # the longer first: one begins with the other
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
HIGHEST = 0x20  # upper byte of the characters of alphabets and their punctuation
KINDS = {
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it first: zstd -d",
    b"\x04\x22\x4d\x18": "is packed by lz4; unpack it first: lz4 -d",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it first",
    b"PK\x03\x04": "is a zip archive, as .docx and .epub are too; give the text in it",
    b"%PDF-": "is a PDF; give its text, as pdftotext makes it",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "is an Office document; save it as plain text",
    b"\x93NUMPY": "holds numpy's numbers, not a text",
    b"PAR1": "is a Parquet table, not a text",
    b"\x7fELF": "is a program, not a text",
    b"\x89PNG": "is a picture, not a text",
}


def marked_encoding(head: bytes) -> str | None:
    """Return `"UTF-16"` or `"UTF-32"` where a byte-order mark says so, else None.

    Args:
        head: a file's first bytes.

    Example:
        >>> marked_encoding("text".encode("utf-16")), marked_encoding(b"text")
        ('UTF-16', None)
    """
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), None)


def no_text(head: bytes) -> str | None:
    """Return what a file is and what to do with it, where it is clearly no UTF-8; else None.

    Args:
        head: its first `HEAD` bytes, or all that there are.

    Example:
        >>> no_text(b"%PDF-1.7\\n%\\xe2\\xe3\\xcf\\xd3\\n1 0 obj")
        'is a PDF; give its text, as pdftotext makes it'
    """
    known = next((told for mark, told in KINDS.items() if head.startswith(mark)), None)
    if known and (b"\0" in head or "\ufffd" in head[:-4].decode(errors="replace")):
        return known
    if len(head) < LEAST:
        return None
    encoding = _unmarked(head[: len(head) // 4 * 4])
    return encoding and (
        f"is {encoding} without a byte-order mark; convert it first: iconv -f {encoding} -t UTF-8"
    )


def _unmarked(head: bytes) -> str | None:
    """Return the encoding in which the zeros of a text stand where they do."""
    zeros = [head[place::4].count(0) * 4 for place in range(4)]
    for order, (most, none) in {"BE": (zeros[:2], zeros[3]), "LE": (zeros[2:], zeros[0])}.items():
        if min(most) > 0.9 * len(head) and not none:
            return f"UTF-32{order}"
    for order, first in {"BE": 0, "LE": 1}.items():
        high, low = head[first::2], head[1 - first :: 2]
        if 0 in high and 0 not in low and max(high) <= HIGHEST:
            return f"UTF-16{order}"
    return None


class Recoded(io.RawIOBase):
    """A text in UTF-16 or UTF-32 as it would be in UTF-8, without its byte-order mark.

    Args:
        file: at its beginning.
        encoding: as `marked_encoding` tells it.
        name: of the file, in errors.

    Example:
        >>> io.BufferedReader(Recoded(io.BytesIO("né".encode("utf-16")), "UTF-16", "x")).read()
        b'n\\xc3\\xa9'
    """

    def __init__(self, file: BinaryIO, encoding: str, name: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding, self._name = encoding, name
        self._offset = 0
        self._held = b""

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Put what comes next into a buffer and return its length; 0 is the end.

        Args:
            buffer: of bytes.

        Raises:
            DataError: the text is not of its encoding; names the byte offset.
        """
        while not self._held and (block := self._file.read(READ)):
            self._held = self._text(block).encode()
        if not self._held:
            self._text(b"")
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count

    def _text(self, block: bytes) -> str:
        begun = self._offset - len(self._decoder.getstate()[0])
        self._offset += len(block)
        try:
            return self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._name} is not {self._encoding}, as its byte-order mark says: "
                f"{error.reason} at offset {begun + error.start}"
            ) from error
