"""The lines of an ARPA file, read into numbers section by section; what is wrong names its line."""

from __future__ import annotations

import io
import re
from array import array
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from recurra.errors import DataError
from recurra.language.text.arpa.words import LN10, NEVER
from recurra.ngram.arrays import Floats, Integers

__all__ = ["Lines", "Section", "quoted", "read_head", "read_section"]

LONGEST = 1 << 20  # bytes of a line
MOST_SKIPPED = 100_000  # lines before the data, or blank ones
LONGEST_NGRAM = 100  # words
FURTHEST = 1e6  # from 0: no logarithm is further
ROUNDING = 1e-5  # above 0, which other tools' single precision may leave
HEAD = re.compile(rb"ngram\s+(\d{1,3})\s*([=~#:])\s*(\d{1,18})")
TITLE = re.compile(rb"\\(\d{1,3})-grams?:?", re.IGNORECASE)


@dataclass
class Lines:
    """The lines of a file, and where one stands in it."""

    path: Path
    file: io.BufferedReader
    number: int = 0
    line: bytes = b""

    def next(self) -> bytes:
        """Go to the next line and return it; nothing where the file ends."""
        self.number += 1
        self.line = self.file.readline(LONGEST + 1)
        if len(self.line) > LONGEST:
            self.fail(f"the line is longer than {LONGEST:,} bytes")
        return self.line

    def skip_blank(self) -> bytes:
        """Go to the next line that has something in it, and return it without its ends."""
        return self.skip_until(bytes.strip).strip()

    def skip_until(self, found: Callable[[bytes], object]) -> bytes:
        """Go to the next line of which something is so, and return it.

        Args:
            found: what is asked of a line.
        """
        last = self.number + MOST_SKIPPED
        while (line := self.next()) and not found(line):
            if self.number >= last:
                self.fail(f"{MOST_SKIPPED:,} lines that say nothing; is it an ARPA file?")
        return line

    def fail(self, message: str, number: int | None = None) -> NoReturn:
        """Say what is wrong with a line, that one stands at or another.

        Args:
            message: what it is.
            number: of the line.
        """
        raise DataError(f"{self.path}, line {number or self.number}: {message}")


def quoted(line: bytes) -> str:
    """Return the beginning of a line as it is shown.

    Args:
        line: nothing where the file ends.

    Example:
        >>> quoted(b"ngram one\\n")
        "'ngram one'"
    """
    return repr(line[:60].decode(errors="replace").rstrip()) if line else "the end of the file"


@dataclass
class Section:
    """All n-grams of one length n in the file's order, M of them.

    Args:
        lines: where they stand.
        first_line: the number of the first one's.
        blank: how many n-grams come before each blank line.
        words: `(M, n)` ids; of words alone their places in the section.
        log_probs: `(M,)` to base 10.
        log_backoffs: `(M,)` to base 10.
    """

    lines: Lines
    first_line: int
    blank: list[int]
    words: Integers
    log_probs: Floats
    log_backoffs: Floats

    def line_of(self, place: int) -> int:
        """Return the number of the line of an n-gram.

        Args:
            place: the n-gram's in the section.
        """
        return self.first_line + place + sum(before <= place for before in self.blank)

    def to_nats(self) -> None:
        """Turn base-10 logarithms into nats; `-inf` is what has no probability.

        Raises:
            DataError: one is not the logarithm of a probability or a weight.
        """
        for values in (self.log_probs, self.log_backoffs):
            values[values == -np.inf] = NEVER
        log_probs, weights = self.log_probs, self.log_backoffs
        sound = (log_probs > -FURTHEST) & (log_probs < ROUNDING) & (np.abs(weights) < FURTHEST)
        if not sound.all():
            at = int(sound.argmin())
            self.lines.fail(
                f"{log_probs[at]} and {weights[at]} are not the base-10 logarithms of a "
                "probability and a weight",
                self.line_of(at),
            )
        log_probs *= LN10
        weights *= LN10


def read_head(lines: Lines) -> dict[int, int]:
    r"""Read up to the first section and return how many n-grams of each length there should be.

    Args:
        lines: at their beginning.

    Raises:
        DataError: the file does not begin as an ARPA file does, or is another kind of one.
    """
    heads = (b"\\data\\", b"CLASS MODEL")
    lines.skip_until(lambda line: line.removeprefix(BOM_UTF8).strip() in heads)
    if lines.line.strip() == b"CLASS MODEL":
        lines.fail("it is HTK's model of classes of words; there must be n-grams of words")
    if not lines.line:
        lines.fail(r"expected \data\, got the end of the file")
    sizes: dict[int, int] = {}
    while not (line := lines.skip_blank()).startswith(b"\\") and line:
        found = HEAD.fullmatch(line)
        if not found or not 0 < int(found[1]) <= LONGEST_NGRAM or int(found[1]) in sizes:
            lines.fail(f"expected ngram {max(sizes, default=0) + 1}=COUNT, got {quoted(line)}")
        if found[2] != b"=":
            lines.fail("n-grams in HTK's binary form; have HTK write the model as text")
        sizes[int(found[1])] = int(found[3])
    if not sizes:
        lines.fail("no lengths of n-grams are listed")
    return sizes


def next_length(lines: Lines, last: int) -> int | None:
    r"""Return the length of the n-grams that the line one stands at announces; None at \end\.

    Args:
        lines: at a line after a section.
        last: the length of those before.

    Raises:
        DataError: it announces neither.
    """
    line = lines.line.strip()
    if line == b"\\end\\" and last:
        return None
    title = TITLE.fullmatch(line)
    n = int(title[1]) if title else 0
    if not last < n <= LONGEST_NGRAM or (last == 0 and n > 1):
        end = " or \\end\\" if last else ""
        lines.fail(rf"expected \{last + 1}-grams:{end}, got {quoted(lines.line)}")
    return n


def read_section(lines: Lines, n: int, ids: dict[bytes, int], new: bool = False) -> Section:
    """Read the n-grams of one length, up to the head of the next section.

    Args:
        lines: at the section's head.
        n: the length.
        ids: of the words.
        new: whether each is a new word, which is put into `ids` with its place in the section.

    Raises:
        DataError: a line is no such n-gram.
    """
    words, values, weights, blank = array("i"), array("d"), array("d"), list[int]()
    lines.skip_blank()
    first_line, line, place = lines.number, lines.line, ids.__getitem__
    while line:
        fields = line.split()
        given = len(fields) - n
        if not 0 < given < 3 or line.startswith(b"\\"):
            if not fields and len(blank) < MOST_SKIPPED:
                blank.append(len(values))
                line = lines.next()
                continue
            if line.startswith(b"\\"):
                break
            lines.fail(f"expected a logarithm, {n} words, and perhaps a weight; got {quoted(line)}")
        try:
            values.append(float(fields[0]))
            weights.append(float(fields[-1]) if given == 2 else 0.0)
        except ValueError:
            lines.fail(f"expected a number at either end, got {quoted(line)}")
        if new:
            if ids.setdefault(fields[1], len(ids)) != len(values) - 1:
                lines.fail(f"the word {quoted(fields[1])} is there twice")
        else:
            try:
                words.extend(map(place, fields[1 : n + 1]))
            except KeyError as error:
                lines.fail(f"the word {quoted(error.args[0])} is no 1-gram")
        line = lines.next()
    grams = np.array(words, np.int64).reshape(-1, n)
    return Section(lines, first_line, blank, grams, np.array(values), np.array(weights))
