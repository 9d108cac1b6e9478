"""What a language model's score of a text is told in.

N tokens, in blocks of L; R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recurra.language.text.dataset import SplitFacts
from recurra.randomness import generator

__all__ = ["TextMetrics", "format_perplexity", "no_log_prob"]

RESAMPLES = 1_000
LONGEST_BLOCK = 200  # tokens
ROUNDING = 1e-3  # nats above 0, which single precision and few digits may leave


@dataclass(frozen=True)
class TextMetrics:
    """How well a text was predicted.

    Where the vocabulary leaves words out, `bits_per_char` adds to the model's bits for `<unk>`
    those of spelling the word, so that nothing is gained by leaving out more. The perplexity is
    as everywhere: what is outside the vocabulary counts as `<unk>`, and no more.

    Args:
        tokens: how many were scored.
        oov: how many of them were outside the vocabulary, scored as `<unk>`.
        nats_per_token: mean negative natural log-probability; NaN where no token was scored.
        characters: of the text that was scored, newlines included; None where not known.
        spelling_nats: of spelling all the words that became `<unk>`.
        interval: 95% bounds of `nats_per_token`, NaN where they cannot be told; None where
            they were not computed.

    Example:
        >>> TextMetrics(tokens=8, oov=2, nats_per_token=math.log(50)).as_dict()["oov_rate"]
        0.25
        >>> TextMetrics(tokens=8, oov=0, nats_per_token=math.log(16), characters=32).bits_per_char
        1.0
    """

    tokens: int
    oov: int
    nats_per_token: float
    characters: int | None = None
    spelling_nats: float = 0.0
    interval: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, log_probs: NDArray[np.floating], facts: SplitFacts, *, seed: int = 1
    ) -> TextMetrics:
        """Return the metrics of a text whose tokens have these log-probabilities.

        The interval is that of a circular block bootstrap: neighbours depend on each other, so
        blocks of L = min(200, floor(sqrt(N))) tokens are drawn, a thousand times over the
        text's length, and the bounds are the 2.5% and 97.5% quantiles of their means. It says
        what another text of this length and kind would give, not another training.

        Args:
            log_probs: `(N,)`, natural.
            facts: what was counted while the text became ids.
            seed: of the resamples.

        Source: Künsch 1989, "The jackknife and the bootstrap for general stationary
            observations"; circular as in Politis & Romano 1992.

        Example:
            >>> facts = SplitFacts(tokens=4, oov=0, characters=8, replaced=0)
            >>> found = TextMetrics.of(np.log([0.5, 0.25, 0.125, 0.25]), facts)
            >>> found.perplexity, found.bits_per_char
            (4.0, 1.0)
        """
        nats = -np.asarray(log_probs, dtype=np.float64)
        return cls(
            len(nats),
            facts.oov,
            float(nats.mean()) if len(nats) else math.nan,
            facts.characters,
            facts.spelling_nats,
            _interval(nats, seed),
        )

    @property
    def perplexity(self) -> float:
        """The exponential of `nats_per_token`; infinite where that overflows."""
        return _exp(self.nats_per_token)

    @property
    def oov_rate(self) -> float:
        """The share of tokens outside the vocabulary, 0 ... 1."""
        return self.oov / self.tokens if self.tokens else 0.0

    @property
    def bits_per_char(self) -> float | None:
        """The text's bits, spelling included, over its characters; None where not known."""
        if not self.characters:
            return None
        nats = self.nats_per_token * self.tokens + self.spelling_nats
        return nats / self.characters / math.log(2)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the report's entry: what is not finite is None, what is not known left out."""
        entry: dict[str, float | int | None] = {
            "tokens": self.tokens,
            "oov": self.oov,
            "oov_rate": self.oov_rate,
            "nats_per_token": _finite(self.nats_per_token),
            "perplexity": _finite(self.perplexity),
        }
        if self.interval is not None:
            low, high = self.interval
            entry["perplexity_low"] = _finite(_exp(low))
            entry["perplexity_high"] = _finite(_exp(high))
        if self.bits_per_char is not None:
            entry["bits_per_char"] = _finite(self.bits_per_char)
        return entry


def _interval(nats: NDArray[np.float64], seed: int) -> tuple[float, float]:
    N = len(nats)
    if N < 2 or not np.isfinite(nats).all():
        return math.nan, math.nan
    L = min(LONGEST_BLOCK, math.isqrt(N))
    around = np.concatenate([[0.0], nats, nats[: L - 1]]).cumsum()
    blocks = (around[L:] - around[:-L]) / L  # (N,): the mean of the block from each token on
    draws = generator(seed, "bootstrap")
    starts = torch.randint(N, (RESAMPLES, -(-N // L)), generator=draws).numpy()
    low, high = np.quantile(blocks[starts].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def no_log_prob(log_probs: NDArray[np.float64]) -> int | None:
    """Return the first place where there is no log-probability; None where all of them are.

    Minus infinity is one, of what cannot be; what is above 0 by more than rounding is none.

    Args:
        log_probs: `(N,)`, or `(..., N)`, of which the last axis is told.

    Example:
        >>> no_log_prob(np.array([-1.0, -np.inf])), no_log_prob(np.array([-1.0, np.nan]))
        (None, 1)
        >>> no_log_prob(np.array([1e-7, 8.3]))
        1
    """
    wrong = np.argwhere(~(log_probs <= ROUNDING))
    return int(wrong[0][-1]) if len(wrong) else None


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def format_perplexity(nats_per_token: float) -> str:
    """Return the perplexity as text, with digits even where a float would overflow.

    Args:
        nats_per_token: mean negative natural log-probability.

    Example:
        >>> format_perplexity(math.log(141.23)), format_perplexity(1000.0)
        ('141.2', '1.97e+434')
    """
    if not math.isfinite(nats_per_token):
        return "not a number" if math.isnan(nats_per_token) else "infinite"
    if nats_per_token < math.log(1e6):
        return f"{math.exp(nats_per_token):.1f}"
    exponent, mantissa = divmod(nats_per_token / math.log(10), 1)
    return f"{min(10**mantissa, 9.99):.2f}e+{int(exponent)}"
