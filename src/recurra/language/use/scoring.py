"""How likely a language model finds texts, token by token.

N tokens in a text, V in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError
from recurra.language.text.spelling import Spelling
from recurra.language.text.tokenization import EOS
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use.sampling import Stepping, tokens_of

__all__ = ["Context", "Score", "TokenScore", "lines", "score"]

WINDOW = 1024
"""Most lines that are scored side by side."""

WINDOW_CHARACTERS = 2**18
"""Of the lines scored side by side together, but for the last of them."""

LONGEST_LINE = 2**18
"""Characters of a line that is scored whole."""

LONG = 8192
"""Tokens above which a line is scored on its own, so that no other is padded to its length."""

DOCUMENT = 2**22
"""Tokens of a document that is scored at once; a longer one is read token by token."""

Context = Literal["independent", "document"]
Ids = NDArray[np.int32]
Nats = NDArray[np.float64]


class Scoring(Stepping, Protocol):
    """What is asked of a model to score with."""

    def log_probs_of(self, ids: NDArray[np.integer]) -> Nats: ...
    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[Nats]: ...


class TokenScore(NamedTuple):
    """A token as the text has it, its log-probability in nats, and whether it was `<unk>`."""

    token: str
    log_prob: float
    oov: bool


@dataclass(frozen=True)
class Score:
    """How likely a line is.

    Args:
        text: the line, without its newline.
        tokens: each that was scored, the closing `<eos>` last.

    Example:
        >>> half = math.log(0.5)
        >>> found = Score("a", [TokenScore("a", half, False), TokenScore("<eos>", half, False)])
        >>> round(found.log_prob, 4), round(found.perplexity, 4)
        (-1.3863, 2.0)
    """

    text: str
    tokens: Sequence[TokenScore]

    @property
    def log_prob(self) -> float:
        """The sum over the tokens, in nats."""
        return math.fsum(token.log_prob for token in self.tokens)

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprise of a token; infinite where that overflows."""
        try:
            return math.exp(-self.log_prob / len(self.tokens))
        except OverflowError:
            return math.inf

    def as_dict(self) -> dict[str, Any]:
        """Return the record that `recurra score --json` prints; infinite numbers stay."""
        return {
            "text": self.text,
            "log_prob": self.log_prob,
            "perplexity": self.perplexity,
            "tokens": [token._asdict() for token in self.tokens],
        }


def score(
    model: Scoring,
    texts: Iterable[str],
    *,
    context: Context = "independent",
    given: str = "",
    open_vocabulary: bool = False,
    window: int = WINDOW,
) -> Iterator[Score]:
    """Yield how likely each line is, in their order.

    A line's number does not depend on those scored beside it, but for rounding: 1e-5 nats a token
    in float32, and usually a tenth of that.

    Every line ends in an `<eos>`, which is scored; an empty one is that alone. A newline within a
    line is an `<eos>` too. Lines are taken as they are needed, so that any number can be scored;
    but a document is read to its end first, unless it is longer than 4,194,304 tokens, in which
    case it is scored slowly, token by token.

    Args:
        model: any language model.
        texts: lines, with their newlines or without.
        context: `"independent"` scores each alone, `<eos>` before it; `"document"` reads them as
            one text, the state carried throughout.
        given: text that is read and not scored: before every line where they are independent,
            before the first of a document. It is of the same line unless it ends in a newline.
        open_vocabulary: whether a word outside the vocabulary is spelled out: the log-probability
            of its spelling, among all strings outside, is added to that of `<unk>`.
        window: most lines taken at once to be scored side by side.

    Raises:
        ConfigError: for another context, a single string as `texts`, or no window.

    Example:
        >>> from recurra.ngram import KneserNey
        >>> from recurra.language.models.ngram import NgramModel
        >>> words = Vocabulary(["a", "b", "<eos>", "<unk>"])
        >>> counts = KneserNey.fit(words.encode("a b <eos> a <eos>".split()), 2, 4, 2)
        >>> for found in score(NgramModel(counts, words, "split"), ["a b", "zebra"]):
        ...     print(found.text, [token.token for token in found.tokens if token.oov])
        a b []
        zebra ['zebra']
    """
    if isinstance(texts, str):
        raise ConfigError("texts is one string, expected several: [text] is a single line")
    if window < 1:
        raise ConfigError(f"window is at least 1 line, got {window}")
    spell = _speller(model.vocabulary) if open_vocabulary else None
    plain = (text.removesuffix("\n") for text in texts)
    if context == "independent":
        return _independent(model, plain, tokens_of(model, given), spell, window)
    if context == "document":
        return _document(model, plain, tokens_of(model, given), spell)
    raise ConfigError(f"context is 'document' or 'independent', got {context!r}")


Spell = Callable[[str], float] | None


def _speller(vocabulary: Vocabulary) -> Spell:
    return Spelling.of(vocabulary).log_prob_outside


def _independent(
    model: Scoring, texts: Iterable[str], given: list[str], spell: Spell, window: int
) -> Iterator[Score]:
    before = model.vocabulary.encode(given)
    for part in _windows(texts, window):
        tokens = [[*tokens_of(model, text), EOS] for text in part]
        rows = [np.concatenate([before, model.vocabulary.encode(line)]) for line in tokens]
        short = iter(model.log_probs_of_lines([row for row in rows if len(row) <= LONG]))
        for text, line, row in zip(part, tokens, rows):
            nats = next(short) if len(row) <= LONG else model.log_probs_of(row)
            yield _told(model, text, line, nats[len(before) :], spell)


def _windows(texts: Iterable[str], most: int) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(text)
        size += len(text)
        if len(part) == most or size >= WINDOW_CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _document(
    model: Scoring, texts: Iterable[str], given: list[str], spell: Spell
) -> Iterator[Score]:
    before = model.vocabulary.encode(given)
    texts = iter(texts)
    held: list[str] = []
    rows: list[Ids] = []
    size = len(before)
    for text in texts:
        held.append(text)
        rows.append(model.vocabulary.encode([*tokens_of(model, text), EOS]))
        size += len(rows[-1])
        if size > DOCUMENT:
            yield from _stepped(model, chain(held, texts), before, spell)
            return
    nats = model.log_probs_of(np.concatenate([before, *rows]))
    ends = np.cumsum([len(before), *map(len, rows)])
    for text, start, end in zip(held, ends, ends[1:]):
        yield _told(model, text, [*tokens_of(model, text), EOS], nats[start:end], spell)


def _stepped(model: Scoring, texts: Iterable[str], before: Ids, spell: Spell) -> Iterator[Score]:
    """Score a document of any length, one token at a time."""
    log_probs, state = model.step(model.vocabulary.eos, model.initial_state())
    for token in before.tolist():
        log_probs, state = model.step(token, state)
    for text in texts:
        line = [*tokens_of(model, text), EOS]
        nats = np.empty(len(line))
        for place, token in enumerate(model.vocabulary.encode(line).tolist()):
            nats[place] = float(log_probs[token])
            log_probs, state = model.step(token, state)
        yield _told(model, text, line, nats, spell)


def _told(model: Scoring, text: str, tokens: list[str], nats: Nats, spell: Spell) -> Score:
    known = model.vocabulary.ids
    scores = []
    for token, log_prob in zip(tokens, nats.tolist()):
        oov = token not in known
        if oov and spell:
            log_prob += spell(token)
        scores.append(TokenScore(token, log_prob, oov))
    return Score(text, scores)


def lines(chunks: Iterable[str], longest: int = LONGEST_LINE) -> Iterator[str]:
    """Yield the lines of a text in bounded memory; one that is too long becomes several.

    Such a line is cut after its last space within `longest` characters, or there if it has none.
    How the text is divided into chunks never matters.

    Args:
        chunks: pieces of one text.
        longest: characters of a line that is not cut.

    Example:
        >>> list(lines(["one\\n\\ntwo th", "ree\\n"], longest=5))
        ['one', '', 'two ', 'three']
    """
    rest = ""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split("\n")
        for line in whole:
            *parts, line = _cut(line, longest)
            yield from parts
            yield line
        *parts, rest = _cut(rest, longest)
        yield from parts
    if rest:
        yield rest


def _cut(line: str, longest: int) -> Iterator[str]:
    while len(line) > longest:
        end = line.rfind(" ", 0, longest) + 1 or longest
        yield line[:end]
        line = line[end:]
    yield line
