"""What a language model's score of a text is told in."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TextMetrics", "format_perplexity"]


@dataclass(frozen=True)
class TextMetrics:
    """How well a text was predicted.

    Args:
        tokens: how many were scored.
        oov: how many of them were outside the vocabulary, scored as `<unk>`.
        nats_per_token: mean negative natural log-probability; NaN where no token was scored.
        characters: of the text that was scored, newlines included; None where not known.

    Example:
        >>> TextMetrics(tokens=8, oov=0, nats_per_token=2.0).as_dict()
        {'tokens': 8, 'oov': 0, 'nats_per_token': 2.0, 'perplexity': 7.38905609893065}
        >>> TextMetrics(tokens=8, oov=0, nats_per_token=math.log(16), characters=32).bits_per_char
        1.0
    """

    tokens: int
    oov: int
    nats_per_token: float
    characters: int | None = None

    @property
    def perplexity(self) -> float:
        """The exponential of `nats_per_token`; infinite where that overflows."""
        try:
            return math.exp(self.nats_per_token)
        except OverflowError:
            return math.inf

    @property
    def bits_per_char(self) -> float | None:
        """The text's bits over its characters; None where those are not known."""
        if not self.characters:
            return None
        return self.nats_per_token * self.tokens / self.characters / math.log(2)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the report's entry: what is not finite is None, what is not known left out."""
        entry: dict[str, float | int | None] = {
            "tokens": self.tokens,
            "oov": self.oov,
            "nats_per_token": _finite(self.nats_per_token),
            "perplexity": _finite(self.perplexity),
        }
        if self.bits_per_char is not None:
            entry["bits_per_char"] = _finite(self.bits_per_char)
        return entry


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
