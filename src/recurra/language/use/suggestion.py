"""The next word, or the rest of one that is begun.

B rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.language.text.tokenization import EOS, UNK, detokenize, tokenize
from recurra.language.use.sampling import Stepping, ids_of, require_count, tokens_of
from recurra.nn.state import index
from recurra.search.rows import Rows

__all__ = ["Suggestion", "suggest"]

LONGEST_WORD = 40
"""Most tokens of a word that is searched for in pieces."""

WIDTH = 4
"""Unfinished words that the search goes on with, for each that is wanted."""

MOST_SUGGESTIONS = 10_000
"""That may be asked for."""

WHITE = "".join(char for char in map(chr, range(128)) if char.isspace() and char != "\n")
"""What ends a word of byte pairs, beside the end of the line."""


class Suggestion(NamedTuple):
    """A word that may come next, and its probability."""

    token: str
    probability: float


def suggest(model: Stepping, text: str = "", top: int = 5) -> list[Suggestion]:
    """Return the likeliest next words, or completions of the word that `text` ends within.

    Probabilities are those of the next word; of completions those of the whole word, given that
    it begins so: that it is complete as it stands is one of them, and where no word is known that
    begins so there are none. `<unk>` is never suggested; `<eos>`, the end of the line, may be.

    Where tokens are characters or byte pairs, words up to the next white space are searched for
    by a beam, and the end of the line is not suggested.

    Args:
        model: any language model.
        text: what was written so far; white space at its end says that a word is complete.
        top: most suggestions.

    Raises:
        ConfigError: `top` is not positive.
    """
    require_count("top", top, 1, MOST_SUGGESTIONS)
    found = (
        _known(model, text, top) if model.rule in ("split", "words") else _made(model, text, top)
    )
    return [Suggestion(word, probability) for word, probability in found]


def _known(model: Stepping, text: str, top: int) -> list[tuple[str, float]]:
    """Return words that are tokens."""
    read, begun = _begun_word(text, model.rule)
    probabilities = Rows(model, ids_of(model, read), 1, index).log_probs[0].exp().numpy()
    wanted = np.ones(len(probabilities), dtype=bool)
    if begun:
        tokens = model.vocabulary.tokens
        wanted = np.array([token.startswith(begun) and token != EOS for token in tokens])
    wanted[model.vocabulary.unk] = False
    if begun:
        probabilities = probabilities / (probabilities[wanted].sum() or 1)
    ids = np.flatnonzero(wanted)
    best = ids[np.argsort(-probabilities[ids], kind="stable")[:top]].tolist()
    return list(zip(model.vocabulary.decode(best), probabilities[best].tolist()))


def _begun_word(text: str, rule: str) -> tuple[list[str], str]:
    """Return the tokens of a text without the word that it ends within, and that; or ""."""
    read = tokenize(text, rule)
    if not read or text[-1].isspace() or read[-1] in (UNK, EOS):
        return read, ""
    if rule == "split" or _is_word(read[-1]):
        return read[:-1], read[-1]
    # An apostrophe or a hyphen joins only once the next letter is there.
    if read[-1] in "'\u2019-" and not text[-2:-1].isspace() and _is_word("".join(read[-2:-1])):
        return read[:-2], "".join(read[-2:])
    return read, ""


def _is_word(token: str) -> bool:
    return bool(re.match(r"\w", token)) or unicodedata.category(token[:1] or " ")[0] == "M"


def _made(model: Stepping, text: str, top: int) -> list[tuple[str, float]]:
    """Return words put together of tokens, which may be several ways for one word.

    A word is done where white space or the end of the line is next. The first tokens must agree
    with what is begun, which may be cut otherwise than they are: "wor" is no token of "world".
    """
    read, begun = _begun_string(text, model)
    pieces = _Pieces(model)
    rows = Rows(model, ids_of(model, tokens_of(model, read)), WIDTH * top, index)
    beam, scores = [""], np.zeros(1)  # strings of tokens, and their log-probabilities
    words: defaultdict[str, float] = defaultdict(float)
    reached = 0.0 if begun else 1.0  # the probability that the word begins so
    for _ in range(LONGEST_WORD):
        totals = scores[:, None] + rows.log_probs.numpy()
        totals[:, model.vocabulary.unk] = -math.inf
        for row, string in enumerate(beam):
            if len(string) < len(begun) or not string:
                agreed, through = pieces.agreeing(begun, string)
                reached += float(np.exp(totals[row, through]).sum()) if begun else 0.0
                totals[row, ~agreed] = -math.inf
                continue
            if word := pieces.word(string):
                words[word] += float(np.exp(totals[row, pieces.ends]).sum())
            totals[row, pieces.ends] = -math.inf
        least = sorted(words.values(), reverse=True)[top - 1 : top] or [0.0]
        best = np.argsort(-totals, axis=None, kind="stable")[: WIDTH * top]
        best = best[np.exp(totals.flat[best]) > least[0]]
        if not len(best):
            break
        chosen, ids = np.unravel_index(best, totals.shape)
        beam = [beam[row] + pieces.tokens[n] for row, n in zip(chosen, ids)]
        scores = totals.flat[best]
        rows.take(chosen.tolist())
        rows.step(ids.tolist())
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:top]
    return [(word, min(1.0, probability / reached)) for word, probability in ordered]


def _begun_string(text: str, model: Stepping) -> tuple[str, str]:
    """Return what of a text to read, and the rest as a string of tokens, its space included."""
    word = "" if text[-1:].isspace() else "".join(text.split()[-1:])
    read = text[: len(text) - len(word)]
    if model.rule == "bpe" and read.endswith(" "):  # which belongs to the token of the word
        read, word = read[:-1], f" {word}"
    return read, "".join(tokens_of(model, word))


class _Pieces:
    """The tokens of characters or byte pairs, as parts of words."""

    def __init__(self, model: Stepping) -> None:
        self.rule = model.rule
        self.tokens = model.vocabulary.tokens
        white = {" ", *"".join(tokens_of(model, WHITE))}
        special = np.array([token in (EOS, UNK) for token in self.tokens])
        first = np.array([token[:1] in white or token[:1].isspace() for token in self.tokens])
        inner = np.array([not white.isdisjoint(token[1:]) for token in self.tokens])
        self.within = ~(special | inner)
        self.starts = self.within & ~first
        self.ends = first & ~special
        self.ends[model.vocabulary.eos] = True

    def agreeing(self, begun: str, string: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which tokens may follow `string`, and which of those reach all of `begun`."""
        if not begun:
            return self.starts, self.starts
        rest = begun[len(string) :]
        through = np.array([token.startswith(rest) for token in self.tokens]) & self.within
        partly = np.array([rest.startswith(token) for token in self.tokens]) & self.within
        return through | partly, through

    def word(self, string: str) -> str:
        """Return the word that a string of tokens is; "" if it is none."""
        text = detokenize([string], self.rule).strip(WHITE)
        return "" if "\ufffd" in text else text
