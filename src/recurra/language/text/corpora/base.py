"""What a corpus is, and the digests that fingerprints are made of."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from recurra.language.options import TextOptions
from recurra.language.text.tokenization import Rule, read_text

__all__ = ["SPLITS", "Corpus", "digest"]

SPLITS = ("train", "valid", "test")


def digest(*facts: object) -> str:
    """Return the SHA-256 of facts that can be written as JSON, as hexadecimal digits.

    Args:
        facts: what a fingerprint depends on.

    Example:
        >>> digest("words", 1)[:8]
        'de1b0d51'
    """
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class Corpus(ABC):
    """A text in splits, each read as a stream. Your own is used by `module:Name`.

    Args:
        options: what the user asked for; a corpus takes from them what concerns it.

    Example:
        >>> class Alphabet(Corpus):
        ...     rule = "characters"
        ...
        ...     def splits(self):
        ...         return ("train",)
        ...
        ...     def chunks(self, split):
        ...         yield "abcdefghijklmnopqrstuvwxyz"
        ...
        ...     def fingerprint(self):
        ...         return "alphabet 1"
        >>> list(Alphabet(TextOptions()).chunks("train"))
        ['abcdefghijklmnopqrstuvwxyz']
    """

    rule: Rule = "words"
    """How this text is cut into tokens, unless the user says otherwise."""

    def __init__(self, options: TextOptions) -> None:
        self.options = options
        self._replaced: Counter[str] = Counter()

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return which of `train`, `valid` and `test` there are."""

    @abstractmethod
    def chunks(self, split: str) -> Iterator[str]:
        """Yield the text of a split in pieces of any length, from its beginning.

        Args:
            split: one of `splits()`.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a string that changes whenever the text of any split does."""

    def verify(self) -> None:
        """Make sure that the text is here and whole, downloading or building it where needed.

        Raises:
            DataError: it is not, and cannot be made so.
        """
        self.fingerprint()

    def found(self) -> str | None:
        """Return in words where the text is, fetching nothing; None where it is to be fetched."""
        return "made on this machine"

    def place(self, split: str) -> str:
        """Return where a split comes from, in words, for messages.

        Args:
            split: one of `splits()`.
        """
        return f"the corpus {self.options.corpus}"

    def replaced(self, split: str) -> int:
        """Return how many bad byte sequences the last full reading of a split replaced.

        Args:
            split: one of `splits()`.
        """
        return self._replaced[split]

    def _read(
        self, path: Path, split: str, start: int = 0, stop: int | None = None
    ) -> Iterator[str]:
        """Return the text of a split out of a file, and count what is replaced in it."""
        self._replaced[split] = 0

        def count(bad: int) -> None:
            self._replaced[split] += bad

        return read_text(path, self.options.errors, start, stop, count)
