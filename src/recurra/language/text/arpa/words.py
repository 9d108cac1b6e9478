"""What stands for the beginning and the end of a sentence, and for words that are not known."""

from __future__ import annotations

import math
from collections.abc import Container

__all__ = ["CAPITAL_UNK", "END", "LN10", "NEVER", "START", "ends_of", "unknown_of"]

START, END, CAPITAL_UNK = "<s>", "</s>", "<UNK>"
ENDS = ((START, END), ("<S>", "</S>"), ("!ENTER", "!EXIT"))  # the last of HTK's bigrams
UNKNOWN = ("<unk>", CAPITAL_UNK, "<Unk>", "!!UNK")  # the last of HTK's language models
NEVER = -99.0
"""The base-10 logarithm of what has no probability."""
LN10 = math.log(10)


def ends_of(names: Container[bytes]) -> tuple[bytes, bytes] | None:
    """Return what opens and what ends a sentence in a file; None where no word ends it.

    Args:
        names: the file's words.

    Example:
        >>> ends_of([b"!EXIT", b"!ENTER", b"a"])
        (b'!ENTER', b'!EXIT')
    """
    pairs = ((start.encode(), end.encode()) for start, end in ENDS)
    return next((pair for pair in pairs if pair[1] in names), None)


def unknown_of(names: Container[bytes]) -> bytes | None:
    """Return what a file calls the words that it does not know; None where it has no such word.

    Args:
        names: the file's words.

    Example:
        >>> unknown_of([b"<UNK>", b"a"])
        b'<UNK>'
    """
    return next((name for name in map(str.encode, UNKNOWN) if name in names), None)
