"""Byte pairs: learning which to merge, merging them, and back to text.

A token is a run of bytes, of which no merge goes beyond a stretch: a word with the one space
before it, three digits, or other characters of one kind. Its string has a character for each
byte: itself where that is visible in Latin-1, and U+0100, U+0101, ... for the others in their
order, so that a space is U+0120. A newline is a stretch, and a token, by itself.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from types import ModuleType

from recurra.errors import ConfigError

__all__ = ["BYTES", "Encoder", "Merges", "encoder", "learn", "marks", "text_of"]

Merges = tuple[tuple[str, str], ...]

MEMO = 1 << 22  # characters of stretches whose tokens an encoder remembers
ENCODERS = 4  # that are kept

_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(0x100) if byte not in _VISIBLE]
_SHOWN = {byte: 0x100 + place for place, byte in enumerate(_HIDDEN)} | {0x0A: 0x0A}
_BYTE = {chr(_SHOWN.get(byte, byte)): byte for byte in range(0x100)}

BYTES = tuple(char for char in _BYTE if char != "\n")
"""What stands for each byte in a token; a newline is not among them."""


class Encoder:
    """Merges the byte pairs of texts; each different stretch once, while it is remembered.

    Args:
        merges: which pairs, in the order they were learned.

    Raises:
        ConfigError: the library is not installed.

    Example:
        >>> Encoder((("l", "o"), ("lo", "w"))).tokens("low slow\\n")
        ['low', 'Ġ', 's', 'low', '\\n']
    """

    def __init__(self, merges: Merges) -> None:
        library = _library()
        strings = dict.fromkeys([*BYTES, "\n", *(left + right for left, right in merges)])
        ids = {string: place for place, string in enumerate(strings)}
        self.merges = merges
        self._tokenizer = library.Tokenizer(library.models.BPE(ids, list(merges)))
        self._known: dict[str, list[str]] = {}
        self._held = 0

    def tokens(self, piece: str) -> list[str]:
        """Return the tokens of a text that begins and ends where a stretch does.

        Args:
            piece: any string.
        """
        stretches = _stretches().findall(piece)
        known = self._known
        new = list(set(stretches).difference(known))
        self._held += sum(map(len, new))
        if self._held > MEMO:
            known, new = {}, list(set(stretches))
            self._held = sum(map(len, new))
        if new:
            found = self._tokenizer.encode_batch(list(map(_shown, new)))
            known = known | dict(zip(new, (each.tokens for each in found)))
            self._known = known
        return list(chain.from_iterable(map(known.__getitem__, stretches)))


_KEPT: dict[int, Encoder] = {}  # by the identity of the merges, which the encoder holds


def encoder(merges: Merges) -> Encoder:
    """Return the encoder of these merges, made once for the same object.

    Args:
        merges: which pairs, in the order they were learned.

    Raises:
        ConfigError: the library is not installed.
    """
    found = _KEPT.get(id(merges))
    if found is None or found.merges is not merges:
        if len(_KEPT) >= ENCODERS:
            _KEPT.clear()
        found = _KEPT[id(merges)] = Encoder(merges)
    return found


def learn(pieces: Iterable[str], size: int, min_count: int = 1) -> Merges:
    """Return the pairs to merge, in their order: the most frequent first, again and again.

    Args:
        pieces: of a text, each begins and ends where a stretch does.
        size: most tokens that there are then, beside the newline; at least 255.
        min_count: occurrences that a pair needs.

    Raises:
        ConfigError: the library is not installed.

    Source: Sennrich, Haddow & Birch 2016, "Neural machine translation of rare words with subword
        units"; over bytes as in Radford et al. 2019.

    Example:
        >>> learn(["low lower lowest"], size=258)
        (('l', 'o'), ('lo', 'w'), ('Ġ', 'low'))
    """
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_count,
        initial_alphabet=list(BYTES),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(pieces), trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    return tuple((left, right) for left, right in learned)


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the stretches of a text, a line each; the library reads 256 strings ahead."""
    for piece in pieces:
        found = _stretches().findall(piece)
        for start in range(0, len(found), 1_000):
            yield _shown("\n".join(found[start : start + 1_000]))


def text_of(string: str) -> str:
    """Return the text whose bytes a string of joined tokens shows.

    What is not UTF-8, as a network may write it, becomes U+FFFD; so do lone surrogates.

    Args:
        string: of characters in `BYTES`, and newlines.

    Example:
        >>> text_of("caf\\u00c3\\u00a9")
        'café'
    """
    return bytes(_BYTE.get(char, 0xFF) for char in string).decode("utf-8", "replace")


def _shown(text: str) -> str:
    """Return a text with a character for each of its bytes; newlines stay."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1").translate(_SHOWN)


@cache
def marks() -> str:
    r"""Return the combining marks, which `\w` lacks: Hindi or Arabic words fall apart so."""
    basic = map(chr, range(0x10000))
    return "".join(char for char in basic if unicodedata.category(char).startswith("M"))


@cache
def _stretches() -> re.Pattern[str]:
    """What byte pairs are merged within; the stretches of a text are all of it."""
    letters = rf"(?:[^\W\d_]+|[{marks()}]+)+"
    word = rf"{letters}(?:['\u2019]{letters})*"
    kinds = rf"{word}|\d{{1,3}}|_+|[^\w\s{marks()}]+|[^\S \n]+"
    return re.compile(rf" ?(?:{kinds})| +(?= [^ \n])| +|\n")


def _library() -> ModuleType:
    try:
        return import_module("tokenizers")
    except ImportError as error:
        raise ConfigError(
            "data.rule=bpe needs the library tokenizers: pip install tokenizers"
        ) from error
