"""Text out of a language model: drawn, or searched for by a beam.

B rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Unpack

import torch

from recurra.errors import ConfigError
from recurra.language.text.tokenization import detokenize
from recurra.language.use.sampling import (
    Decoding,
    How,
    Stepping,
    ids_of,
    require_count,
    tokens_of,
)
from recurra.language.use.suggestion import Suggestion, suggest
from recurra.nn.state import index
from recurra.randomness import generator
from recurra.search.beam import likeliest
from recurra.search.rows import Rows
from recurra.search.truncation import draw
from recurra.work import worked_on, working

__all__ = ["Decoding", "How", "Suggestion", "generate", "generate_many", "stream", "suggest"]

MOST_PROBABILITIES = 2**21
"""Held at once while texts are written side by side: 16 MB."""

WINDOW = 8
"""Tokens that are looked at to join the next one to them; the rules look at one."""


def generate(
    model: Stepping,
    num_tokens: int = 100,
    *,
    prompt: str = "",
    seed: int = 1,
    **how: Unpack[How],
) -> str:
    """Return text that goes on from `prompt`, written token by token; the prompt comes first.

    Words of the prompt that the model does not know stay as they are, though it reads `<unk>`.

    Args:
        model: any language model.
        num_tokens: most tokens to write.
        prompt: what the text begins with, as the model's rule cuts and joins it.
        seed: of the draws.
        how: `temperature`, `top_k`, `top_p`, `min_p`, `beam`, `stop` and the other arguments of
            `Decoding`.

    Raises:
        ConfigError: a value is out of range; names the argument.
    """
    return "".join(stream(model, num_tokens, prompt=prompt, seed=seed, **how))


def stream(
    model: Stepping,
    num_tokens: int = 100,
    *,
    prompt: str = "",
    seed: int = 1,
    **how: Unpack[How],
) -> Iterator[str]:
    """Yield the prompt, then what is written, as soon as it is settled: together `generate`'s.

    What may be the beginning of a stop is held back until it is known not to be one. By a beam,
    all is settled at the end only.

    Args:
        model: any language model.
        num_tokens: most tokens to write.
        prompt: what the text begins with, as the model's rule cuts and joins it.
        seed: of the draws.
        how: as for `generate`.

    Raises:
        ConfigError: a value is out of range; names the argument.
    """
    require_count("num_tokens", num_tokens, 0)
    decoding, given = Decoding(**how), tokens_of(model, prompt)
    draws = [generator(seed, "generate")]

    def pieces() -> Iterator[str]:
        yield detokenize(given, model.rule)
        if decoding.beam:
            yield _searched(model, given, num_tokens, decoding)[0]
        else:
            yield from (piece for _, piece in _drawn(model, given, num_tokens, decoding, draws))

    return pieces()


def generate_many(
    model: Stepping,
    num_samples: int,
    num_tokens: int = 100,
    *,
    prompt: str = "",
    seed: int = 1,
    **how: Unpack[How],
) -> list[str]:
    """Return texts written side by side, each drawn from a random stream of its own.

    So text `n` is the same however many there are, but for rounding, and the first is what
    `generate` returns. By a beam, they are the best hypotheses, best first.

    Args:
        model: any language model.
        num_samples: how many texts; with a beam at most its width.
        num_tokens: most tokens of each to write.
        prompt: what each begins with, as the model's rule cuts and joins it.
        seed: of the draws.
        how: as for `generate`.

    Raises:
        ConfigError: a value is out of range; names the argument.
    """
    require_count("num_samples", num_samples, 1)
    require_count("num_tokens", num_tokens, 0)
    decoding, given = Decoding(**how), tokens_of(model, prompt)
    before = detokenize(given, model.rule)
    if decoding.beam:
        if num_samples > decoding.beam:
            raise ConfigError(f"num_samples is {num_samples}, more than the beam's {decoding.beam}")
        with working("searching"):
            found = _searched(model, given, num_tokens, decoding)[:num_samples]
        return [before + text for text in found]
    most = max(1, MOST_PROBABILITIES // len(model.vocabulary))
    block = min(most, getattr(model, "most_rows", None) or most)
    texts = [before] * num_samples
    for start in range(0, num_samples, block):
        numbers = range(start, min(start + block, num_samples))
        draws = [generator(seed, "generate", epoch=n) for n in numbers]
        drawn = _drawn(model, given, num_tokens, decoding, draws)
        for row, piece in worked_on(drawn, "writing", "pieces"):
            texts[start + row] += piece
    return texts


class _Writer:
    """Makes text of tokens as they come, up to a stop."""

    def __init__(self, rule: str, before: Sequence[str], stops: Sequence[str]) -> None:
        self.rule = rule
        self.stops = stops
        self.joined = rule in ("split", "words")  # tokens are by white space, or by nothing
        self.window = tuple(before[-WINDOW:]) if self.joined else ()
        self.held = ""  # written, but may be the beginning of a stop
        self.done = False

    def add(self, token: str) -> str:
        """Return what is settled once this token is written."""
        if self.done:
            return ""
        text = self.held + self._piece(token)
        found = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if found:
            self.done, self.held, self.window = True, "", ()
            return text[: min(found)]
        settled = len(text) - self._begun(text)
        self.held = text[settled:]
        return text[:settled]

    def rest(self) -> str:
        """Return what was held back, when no token comes any more."""
        unfinished = "" if self.joined else detokenize(self.window, self.rule)
        return self.held + unfinished

    def _piece(self, token: str) -> str:
        before, after = self.window, (*self.window, token)
        text = detokenize(after, self.rule)
        if self.joined:
            self.window = after[-WINDOW:]
            return text[len(detokenize(before, self.rule)) :]
        # A character's bytes may be in several tokens.
        self.window = after if self.rule == "bpe" and text.endswith("\ufffd") else ()
        return "" if self.window else text

    def _begun(self, text: str) -> int:
        """Return how many characters at the end of the text may begin a stop."""
        longest = max(map(len, self.stops), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self.stops):
                return length
        return 0


def _drawn(
    model: Stepping,
    given: Sequence[str],
    num_tokens: int,
    decoding: Decoding,
    draws: Sequence[torch.Generator],
) -> Iterator[tuple[int, str]]:
    """Yield text as it is settled, with the number of the stream it is drawn from."""
    vocabulary = model.vocabulary
    rows = Rows(model, ids_of(model, given), len(draws), index)
    rows.take([0] * len(draws))
    writers = [_Writer(model.rule, given, decoding.stops) for _ in draws]
    going = list(range(len(draws)))  # the text of each row
    for left in reversed(range(num_tokens)):
        choices = decoding.choices(rows.log_probs, vocabulary.unk)
        chosen = draw(choices, [draws[n] for n in going])
        for n, token in zip(going, vocabulary.decode(chosen)):
            if piece := writers[n].add(token):
                yield n, piece
        kept = [row for row, n in enumerate(going) if not writers[n].done]
        if not (kept and left):
            break
        if len(kept) < len(going):
            rows.take(kept)
            going = [going[row] for row in kept]
        rows.step([chosen[row] for row in kept])
    for n, writer in enumerate(writers):
        if piece := writer.rest():
            yield n, piece


class _Written(NamedTuple):
    """What a hypothesis of a beam has written: what is settled, and with what it goes on."""

    settled: str
    writer: _Writer


def _searched(
    model: Stepping, given: Sequence[str], num_tokens: int, decoding: Decoding
) -> list[str]:
    """Return the texts that a beam finds, the best first."""
    width, vocabulary = decoding.beam or 1, model.vocabulary

    def follow(before: _Written, token: int) -> _Written:
        writer = copy.copy(before.writer)
        return _Written(before.settled + writer.add(vocabulary.tokens[token]), writer)

    found = likeliest(
        Rows(model, ids_of(model, given), width, index),
        width,
        num_tokens,
        carried=_Written("", _Writer(model.rule, given, decoding.stops)),
        follow=follow,
        done=lambda written: written.writer.done,
        choices=lambda log_probs: decoding.choices(log_probs, vocabulary.unk),
        length_power=decoding.length_power,
    )
    return [each.carried.settled + each.carried.writer.rest() for each in found]
