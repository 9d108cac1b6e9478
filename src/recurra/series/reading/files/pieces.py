"""A text in pieces that end where a line does, whatever its encoding and its line ends are."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from recurra.errors import DataError

__all__ = ["pieces"]

READ = 1 << 20  # bytes at once
LONGEST_LINE = 1 << 20  # bytes
SPACE = b"\r\n "
WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""What a text in two or four bytes a character begins with; the longer ones first."""


def pieces(file: BinaryIO, place: str) -> Iterator[str]:
    """Yield a text in UTF-8, or in UTF-16 or UTF-32 with a mark, without what is blank at its ends.

    Args:
        file: open for reading, at its begin.
        place: what it is from, for messages.

    Raises:
        DataError: it is in another encoding, or a line is too long.

    Example:
        >>> import io
        >>> list(pieces(io.BytesIO("ds,y\\n1,2\\n".encode("utf-16")), "data.csv"))
        ['ds,y\\n', '1,2']
    """
    rest, offset, line = b"", 0, 1
    begun = False

    def decoded(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            at = line + data.count(b"\n", 0, error.start)
            raise DataError(
                f"{place} is not UTF-8: byte {offset + error.start}, in line {at}; save it as UTF-8"
            ) from error

    for block in _blocks(file, place):
        data = rest + block
        if not begun:
            found = data.removeprefix(codecs.BOM_UTF8).lstrip(SPACE)
            offset += len(data) - len(found)
            line += data.count(b"\n", 0, len(data) - len(found))
            data, begun = found, bool(found)
        last = data.rstrip(SPACE)
        cut = last.rfind(b"\n") + 1 or last.rfind(b"\r", 0, -1) + 1
        if cut:
            yield decoded(data[:cut])
            offset, line = offset + cut, line + data.count(b"\n", 0, cut)
        rest = data[cut:]
        if len(rest) > LONGEST_LINE:
            raise DataError(
                f"{place}, line {line} is longer than {LONGEST_LINE:,} bytes, or only space; "
                "expected a line for each row, of numbers and words"
            )
    if rest := rest.rstrip(SPACE):
        yield decoded(rest)


def _blocks(file: BinaryIO, place: str) -> Iterator[bytes]:
    """Yield a file's bytes; those of a text in UTF-16 or UTF-32 as UTF-8."""
    block = file.read(READ)
    wide = next((name for mark, name in WIDE.items() if block.startswith(mark)), None)
    if wide is None and b"\0" in block[:READ]:
        raise DataError(
            f"{place} holds zero bytes, as no text in UTF-8 does: it is in UTF-16 without a mark, "
            "or no text; save it as UTF-8"
        )
    decoder = codecs.getincrementaldecoder(wide)() if wide else None
    while block:
        try:
            yield decoder.decode(block).encode() if decoder else block
            block = file.read(READ)
            if decoder and not block:
                decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise DataError(f"{place} is not {wide}, as its first bytes say: {error}") from error
