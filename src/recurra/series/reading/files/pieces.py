"""A text in pieces that end where a line does, whatever its line ends are."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from recurra.errors import DataError

__all__ = ["pieces"]

READ = 1 << 20  # bytes at once
LONGEST_LINE = 1 << 20  # bytes
SPACE = b"\r\n "


def pieces(file: BinaryIO, place: str) -> Iterator[str]:
    """Yield a text in UTF-8 without what is blank at its ends.

    Args:
        file: open for reading, at its begin.
        place: what it is from, for messages.

    Raises:
        DataError: it is not UTF-8, or a line is too long.

    Example:
        >>> import io
        >>> list(pieces(io.BytesIO(b"\\nds,y\\n1,2\\n"), "data.csv"))
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

    while block := file.read(READ):
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
