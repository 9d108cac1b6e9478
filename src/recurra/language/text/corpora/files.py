"""Text of one's own: a directory with a file for each split, or one file that is divided."""

from __future__ import annotations

import stat
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.language.options import TextOptions
from recurra.language.text.corpora.base import SPLITS, Corpus, digest
from recurra.storage.files import sha256
from recurra.storage.reading import opened, plain, skip

__all__ = ["DirectoryCorpus", "FileCorpus"]

WINDOW = 1 << 20  # bytes that are searched for a line's start
PACKED = ("", ".gz", ".bz2", ".xz")  # what may follow the name of a split's file


class DirectoryCorpus(Corpus):
    """A directory with `train.txt`, `valid.txt` and `test.txt`, or `ptb.train.txt` and so on.

    Any of the three may be missing, or packed, as `train.txt.gz`. Files whose names begin with
    `ptb.` are already tokenised, so that their rule is `split`.

    Args:
        options: `corpus` is the directory.

    Raises:
        DataError: it holds no such file, or two for the same split.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "train.txt").write_text("a b")
        >>> DirectoryCorpus(TextOptions(corpus=str(folder))).splits()
        ('train',)
    """

    def __init__(self, options: TextOptions) -> None:
        super().__init__(options)
        self._paths = _find_splits(Path(options.corpus))
        if all(path.name.startswith("ptb.") for path in self._paths.values()):
            self.rule = "split"

    def splits(self) -> tuple[str, ...]:
        """Return which of the three files there are."""
        return tuple(self._paths)

    def chunks(self, split: str) -> Iterator[str]:
        """Yield the text of a split's file."""
        return self._read(self._paths[split], split)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the files' own."""
        files = {split: _sha256(path) for split, path in self._paths.items()}
        return digest("files", files, self.options.errors)

    def found(self) -> str:
        """Return the directory's path."""
        return self.options.corpus

    def place(self, split: str) -> str:
        """Return the path of a split's file."""
        return str(self._paths[split])


def _find_splits(folder: Path) -> dict[str, Path]:
    found = {}
    for split in SPLITS:
        forms = [f"{before}{split}.txt{after}" for before in ("", "*.") for after in PACKED]
        paths = sorted({path for form in forms for path in folder.glob(form)})
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise DataError(f"{folder} has more than one file for {split}: {names}; keep one")
        for path in paths:
            _require_file(path)
            found[split] = path
    if not found:
        raise DataError(
            f"{folder} has no train.txt, valid.txt or test.txt (nor NAME.train.txt and so on)"
        )
    return found


def _require_file(path: Path) -> None:
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
        if regular:  # a pipe would block
            with opened(path):
                pass
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    if not regular:
        raise DataError(f"{path} is not a regular file, and a text is read more than once")


class FileCorpus(Corpus):
    """One text file, its first part for training, the next for validation, the rest for the test.

    The parts are percentages of the file's bytes, unpacked and in UTF-8, and begin where a line
    does; where no line begins within half a mebibyte, after a space. With the rule `characters`
    they are percentages of its characters, rounded down.

    Args:
        options: `corpus` is the file, `split` the percentages.

    Raises:
        ConfigError: the percentages do not add up to 100.
        DataError: it is not a file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "text.txt"
        >>> _ = path.write_text("0123456789")
        >>> options = TextOptions(corpus=str(path), rule="characters", split="90/10")
        >>> list(FileCorpus(options).chunks("valid"))
        ['9']
    """

    def __init__(self, options: TextOptions) -> None:
        super().__init__(options)
        self._path = Path(options.corpus)
        _require_file(self._path)
        self._shares = [Fraction(share) for share in options.split.split("/")]
        if sum(self._shares) != 100 or not all(self._shares):
            raise ConfigError(
                f"data.split is {options.split}: its parts must be above 0 and add up to 100"
            )

    def splits(self) -> tuple[str, ...]:
        """Return `train` and `valid`, and `test` where the split has three parts."""
        return SPLITS[: len(self._shares)]

    def chunks(self, split: str) -> Iterator[str]:
        """Yield the text of a split's part of the file."""
        part = SPLITS.index(split)
        return self._read(self._path, split, self._cuts[part], self._cuts[part + 1])

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file's own and of how it is divided."""
        return digest("file", _sha256(self._path), self._cuts, self.options.errors)

    def found(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def place(self, split: str) -> str:
        """Return the file's path and the split's percentage."""
        return f"{self._path} (its {split} part of data.split={self.options.split})"

    @cached_property
    def _cuts(self) -> list[int]:
        """The byte offsets where the parts begin, and the file's size."""
        size = _size(self._path)
        shares = [
            sum(self._shares[:part], Fraction()) / 100 for part in range(1, len(self._shares))
        ]
        if self.options.rule == "characters":
            return [0, *_character_starts(self._path, shares), size]
        cuts = [_line_start(self._path, int(size * share)) for share in shares]
        return [0, *np.maximum.accumulate(cuts).tolist(), size]


def _size(path: Path) -> int:
    with plain(path) as file:
        return skip(file, sys.maxsize)


def _sha256(path: Path) -> str:
    with opened(path):
        return sha256(path)


def _line_start(path: Path, target: int) -> int:
    """Return the offset of the first line at or after `target`, else the nearest thing to it."""
    with plain(path) as file:
        begin = max(0, target - WINDOW // 2)
        skip(file, begin)
        window = file.read(WINDOW)
        last = not file.read(1)
    here = target - begin
    for gap in (b"\n", b" "):
        for start in (window.find(gap, max(0, here - 1)) + 1, window.rfind(gap, 0, here) + 1):
            if start > 0 and not (last and start == len(window)):
                return begin + start
    # Text without a line or a space near by: at least no character, nor CRLF, is cut in two.
    while here < len(window) and _is_inside(window, here):
        here += 1
    return begin + here


def _is_inside(window: bytes, here: int) -> bool:
    return window[here] & 0xC0 == 0x80 or window[max(0, here - 1) : here + 1] == b"\r\n"


def _character_starts(path: Path, shares: list[Fraction]) -> list[int]:
    """Return the offsets of the characters that `shares` of all come before."""
    counts = [0]
    for starts in _starts(path):
        counts.append(counts[-1] + len(starts))
    targets = [int(counts[-1] * share) for share in shares]
    found = []
    for first, after, starts in zip(counts, counts[1:], _starts(path)):
        found += [int(starts[target - first]) for target in targets if first <= target < after]
    return found or [0] * len(shares)  # an empty file has no character to come before


def _starts(path: Path) -> Iterator[NDArray[np.int64]]:
    """Yield the offsets at which characters start; CRLF is one, a byte-order mark none."""
    offset, before = 0, 0
    with plain(path) as file:
        while block := file.read(WINDOW):
            data = np.frombuffer(block, np.uint8)
            starts = (data & 0xC0) != 0x80
            starts &= (data != ord("\n")) | (np.append(before, data[:-1]) != ord("\r"))
            if offset == 0 and block.startswith(BOM_UTF8):
                starts[0] = False
            yield np.flatnonzero(starts) + offset
            offset, before = offset + len(block), data[-1]
