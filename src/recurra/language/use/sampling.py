"""How the next token of a text is chosen, and what is asked of a model for that.

B rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, TypedDict

import torch
from torch import Tensor

from recurra.errors import ConfigError
from recurra.language.text.tokenization import tokenize
from recurra.language.text.vocabulary import Vocabulary
from recurra.nn.state import State
from recurra.search.truncation import keep_min_p, keep_top_k, keep_top_p, tempered

__all__ = ["Decoding", "How", "ids_of", "require_count", "tokens_of"]


class Stepping(Protocol):
    """What is asked of a model; `most_rows`, where it has one, bounds the rows of a step."""

    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def rule(self) -> str: ...
    def initial_state(self, batch_size: int = 1) -> State: ...
    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]: ...


def tokens_of(model: Stepping, text: str) -> list[str]:
    """Return the tokens of a text as the model's rule cuts it, known to the model or not.

    Args:
        model: any language model.
        text: any string.
    """
    return tokenize(text, model.rule, model.vocabulary.merges)


def ids_of(model: Stepping, tokens: Sequence[str]) -> list[int]:
    """Return what a model reads of a text that begins: `<eos>`, and the ids of its tokens.

    Args:
        model: any language model.
        tokens: known to the model or not.
    """
    return [model.vocabulary.eos, *model.vocabulary.encode(tokens).tolist()]


MOST_COUNT = 10_000_000
"""Of tokens to write, or of the likeliest to choose from."""

MOST_BEAM = 1024
"""Hypotheses side by side."""


class How(TypedDict, total=False):
    """The arguments of `Decoding`, each by its name."""

    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    beam: int | None
    length_power: float
    stop: str | Sequence[str]
    allow_unk: bool


@dataclass(frozen=True)
class Decoding:
    """How the next token is chosen: drawn from what the filters leave, or searched for by a beam.

    Filters act after the temperature, in the order top-k, top-p, min-p.

    Args:
        temperature: divides log-probabilities: below 1 prefers what is likely, 0 always takes the
            likeliest.
        top_k: draw from so many of the likeliest tokens, 1 or more.
        top_p: draw from the fewest likeliest tokens that have at least this much probability, in
            (0, 1].
        min_p: draw from tokens at least this fraction as likely as the likeliest, in [0, 1].
        beam: search for the likeliest text with so many hypotheses; nothing is drawn then.
        length_power: of the beam: log-probabilities are divided by the number of tokens to this
            power, which matters where stops make lengths differ; 0 not at all, 1 gives the mean.
        stop: the text ends before the first place where one of these strings stands.
        allow_unk: whether `<unk>` may be chosen.

    Raises:
        ConfigError: a value is out of range, or of no use with the others; names the argument.

    Source: top-k: Fan et al. 2018; top-p: Holtzman et al. 2020, "The curious case of neural text
        degeneration", section 3.1; min-p: Nguyen et al. 2024, "Turning up the heat".

    Example:
        >>> Decoding(top_k=0)
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: top_k is a whole number from 1, got 0
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    beam: int | None = None
    length_power: float = 1.0
    stop: str | Sequence[str] = ()
    allow_unk: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature is a number from 0, got {self.temperature}")
        for name in ("top_k", "beam"):
            if (count := getattr(self, name)) is not None:
                require_count(name, count, 1, MOST_BEAM if name == "beam" else MOST_COUNT)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is above 0 and at most 1, got {self.top_p}")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ConfigError(f"min_p is from 0 to 1, got {self.min_p}")
        if not 0 <= self.length_power < math.inf:
            raise ConfigError(f"length_power is a number from 0, got {self.length_power}")
        if "" in self.stops:
            raise ConfigError("stop: an empty string stands everywhere; leave it out")
        unused = ("temperature", "top_k", "top_p", "min_p") if self.beam else ("length_power",)
        reason = "a beam draws nothing" if self.beam else "there is no beam"
        for field in fields(self):
            if field.name in unused and getattr(self, field.name) != field.default:
                raise ConfigError(f"{field.name} is of no use, as {reason}; leave it out")

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends the text."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def choices(self, log_probs: Tensor, unk: int) -> Tensor:
        """Return the log-probabilities to draw from; -inf for what the filters leave out.

        Args:
            log_probs: `(..., V)`.
            unk: the id of `<unk>`.
        """
        if not self.allow_unk:
            log_probs = log_probs.index_fill(-1, torch.tensor(unk), -math.inf)
        log_probs = tempered(log_probs, self.temperature)
        if self.top_k is not None:
            log_probs = keep_top_k(log_probs, self.top_k)
        if self.top_p is not None:
            log_probs = keep_top_p(log_probs, self.top_p)
        if self.min_p is not None:
            log_probs = keep_min_p(log_probs, self.min_p)
        return log_probs


def require_count(name: str, value: float, least: int, most: int = MOST_COUNT) -> None:
    """Raise ConfigError unless `value` is a whole number within bounds.

    Args:
        name: what the value is called.
        value: any number.
        least: the least it may be.
        most: the most it may be.

    Example:
        >>> require_count("beam", 10**8, 1, most=1024)
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: beam is at most 1,024, got 1e+08
    """
    if not (math.isfinite(value) and value == int(value) and value >= least):
        raise ConfigError(f"{name} is a whole number from {least}, got {value}")
    if value > most:
        raise ConfigError(f"{name} is at most {most:,}, got {value:.3g}")
