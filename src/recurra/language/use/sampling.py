"""Which token comes next: texts read side by side, what to draw from, and the draw.

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
from recurra.nn.state import State, index

__all__ = [
    "Decoding",
    "How",
    "Rows",
    "draw",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "require_count",
    "tokens_of",
]


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


class Rows:
    """Texts read side by side, or one by one where it must be, and what comes next in each.

    `log_probs (B, V)` is in float64, on the CPU.

    Args:
        model: any language model.
        tokens: what all of them begin with, after `<eos>`; read in the one row there is at first.
        most: the number of rows that there will ever be.
    """

    def __init__(self, model: Stepping, tokens: Sequence[str], most: int) -> None:
        limit = getattr(model, "most_rows", None)
        self.alone = most == 1 or (limit is not None and most > limit)
        self.model = model
        state = model.initial_state()
        for token in [model.vocabulary.eos, *model.vocabulary.encode(tokens).tolist()]:
            log_probs, state = model.step(token, state)
        self.log_probs = log_probs.double().cpu().unsqueeze(0)
        self.state = [state] if self.alone else state

    def take(self, rows: Sequence[int]) -> None:
        """Go on with some rows.

        Args:
            rows: their numbers, each as often as it is wanted.
        """
        self.log_probs = self.log_probs[rows]
        self.state = [self.state[n] for n in rows] if self.alone else index(self.state, rows)

    def step(self, ids: Sequence[int]) -> None:
        """Read a token in each row.

        Args:
            ids: one for each.
        """
        if self.alone:
            stepped = [self.model.step(token, state) for token, state in zip(ids, self.state)]
            log_probs = torch.stack([each for each, _ in stepped])
            self.state = [state for _, state in stepped]
        else:
            log_probs, self.state = self.model.step(torch.tensor(ids), self.state)
        self.log_probs = log_probs.double().cpu()


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
                require_count(name, count, 1)
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
        if self.temperature:
            likeliest = log_probs.amax(-1, keepdim=True)
            log_probs = ((log_probs - likeliest) / self.temperature).log_softmax(-1)
        else:
            first = log_probs.argmax(-1, keepdim=True)
            log_probs = torch.full_like(log_probs, -math.inf).scatter(-1, first, 0.0)
        if self.top_k is not None:
            log_probs = keep_top_k(log_probs, self.top_k)
        if self.top_p is not None:
            log_probs = keep_top_p(log_probs, self.top_p)
        if self.min_p is not None:
            log_probs = keep_min_p(log_probs, self.min_p)
        return log_probs


def require_count(name: str, value: float, least: int) -> None:
    """Raise ConfigError unless `value` is a whole number of at least `least`.

    Args:
        name: what the value is called.
        value: any number.
        least: the least it may be.
    """
    if not (math.isfinite(value) and value == int(value) and value >= least):
        raise ConfigError(f"{name} is a whole number from {least}, got {value}")


def keep_top_k(log_probs: Tensor, k: int) -> Tensor:
    """Return the log-probabilities among the `k` likeliest, and those as likely as the last.

    Args:
        log_probs: `(..., V)`.
        k: 1 or more.

    Example:
        >>> keep_top_k(torch.tensor([0.5, 0.2, 0.3]).log(), 2).exp()
        tensor([0.6250, 0.0000, 0.3750])
    """
    least = log_probs.topk(min(k, log_probs.shape[-1])).values[..., -1:]
    return log_probs.masked_fill(log_probs < least, -math.inf).log_softmax(-1)


def keep_top_p(log_probs: Tensor, p: float) -> Tensor:
    """Return the log-probabilities among the fewest likeliest whose sum is at least `p`.

    Of equally likely ones those of lower id are kept first.

    Args:
        log_probs: `(..., V)`.
        p: in (0, 1].

    Example:
        >>> keep_top_p(torch.tensor([0.5, 0.2, 0.3]).log(), 0.7).exp()
        tensor([0.6250, 0.0000, 0.3750])
    """
    if p == 1:
        return log_probs
    ordered, order = log_probs.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.exp()
    before = probabilities.cumsum(-1) - probabilities
    out = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= p)
    return log_probs.masked_fill(out, -math.inf).log_softmax(-1)


def keep_min_p(log_probs: Tensor, p: float) -> Tensor:
    """Return the log-probabilities among what is at least `p` times as likely as the likeliest.

    Args:
        log_probs: `(..., V)`.
        p: in [0, 1].

    Example:
        >>> keep_min_p(torch.tensor([0.5, 0.2, 0.3]).log(), 0.5).exp()
        tensor([0.6250, 0.0000, 0.3750])
    """
    if p == 0:
        return log_probs
    least = log_probs.amax(-1, keepdim=True) + math.log(p)
    return log_probs.masked_fill(log_probs < least, -math.inf).log_softmax(-1)


def draw(log_probs: Tensor, streams: Sequence[torch.Generator]) -> list[int]:
    """Return an id for each row, drawn with one uniform number from the row's own stream.

    Args:
        log_probs: `(B, V)`.
        streams: one for each row.

    Example:
        >>> draw(torch.tensor([[0.0, 1.0, 0.0]]).log(), [torch.Generator()])
        [1]
    """
    uniform = [torch.rand(1, generator=stream, dtype=torch.float64) for stream in streams]
    cumulative = log_probs.double().exp().cumsum(-1)
    total = cumulative[:, -1:]
    found = torch.searchsorted(cumulative, torch.stack(uniform) * total, right=True).squeeze(1)
    last = (cumulative < total).sum(-1)  # of the tokens that have any probability
    chosen: list[int] = torch.minimum(found, last).tolist()
    return chosen
