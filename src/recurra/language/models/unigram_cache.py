"""The unigram cache: a word that was just read is likely to come again.

B rows, V tokens in the vocabulary, N tokens in a text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.cached import device_of, mix, restored
from recurra.language.options import UnigramCacheOptions, checked
from recurra.language.text.token import token_ids
from recurra.nn.kernels.recency import recency
from recurra.nn.state import State

__all__ = ["UnigramCacheModel", "UnigramCacheState", "unigram_cache"]

Floats = NDArray[np.float64]


class UnigramCacheState(NamedTuple):
    """The wrapped model's state; `counts (B, V)` of the words read, each halved every half-life
    since, and their sum `total (B,)`."""

    inner: State
    counts: Tensor
    total: Tensor


def unigram_cache(
    lm: LanguageModel, *, weight: float = 0.12, half_life: float = 90.0
) -> UnigramCacheModel:
    """Return `lm` mixed with a cache of the words that were just read.

    The defaults are those that serve Kneser-Ney 5-grams best on the validation text of PTB:
    perplexity 148.0 becomes 128.6, and 130.3 by the plain counts of a window of 200 words.

    Args:
        lm: any language model; it is left as it is.
        weight: of the cache, from 0 to 1.
        half_life: tokens after which a word counts half.

    Raises:
        ConfigError: for a value out of range.
    """
    return UnigramCacheModel(
        lm, checked(UnigramCacheOptions, "a cache", weight=weight, half_life=half_life)
    )


class UnigramCacheModel(LanguageModel):
    """A language model mixed with a cache of the words that were just read.

        p(x) = (1 - weight) p_lm(x) + weight p_cache(x)
        p_cache(x) = sum_i [x_i = x] 2^(-(t - i) / half_life) / sum_i 2^(-(t - i) / half_life)

    over all words i = 0 ... t that were read, the `<eos>` before the text being the first.

    Args:
        lm: any language model; never changed.
        options: weight and half-life.

    Source: Kuhn & De Mori 1990, "A cache-based natural language model for speech recognition";
        Clarkson & Robinson 1997, for the exponential decay.
    """

    kind = "unigram_cache"

    def __init__(self, lm: LanguageModel, options: UnigramCacheOptions) -> None:
        super().__init__(lm.vocabulary, lm.rule, lm)
        self.lm = lm
        self.options = options

    def initial_state(self, batch_size: int = 1) -> UnigramCacheState:
        """Return the wrapped model's initial state and no counts."""
        inner = self.lm.initial_state(batch_size)
        counts = torch.zeros(
            batch_size, len(self.vocabulary), dtype=torch.float64, device=device_of(inner)
        )
        return UnigramCacheState(inner, counts, counts.new_zeros(batch_size))

    def step(
        self, token: int | Tensor, state: UnigramCacheState
    ) -> tuple[Tensor, UnigramCacheState]:
        """Read a token; return the next one's log-probabilities in nats, and the state."""
        read = token_ids(token).to(state.counts.device).view(-1)
        log_probs, inner = self.lm.step(read, state.inner)
        decay, weight = 0.5 ** (1 / self.options.half_life), self.options.weight
        counts = state.counts * decay
        counts.scatter_add_(1, read.unsqueeze(1), counts.new_ones(len(read), 1))
        total = state.total * decay + 1
        p = (1 - weight) * log_probs.double().exp()
        mixed = p.add_(counts * (weight / total).unsqueeze(1)).log_().to(log_probs.dtype)
        after = UnigramCacheState(inner, counts, total)
        return (mixed[0] if isinstance(token, int) else mixed), after

    def log_probs_of(self, ids: NDArray[np.integer]) -> Floats:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it."""
        return self.mixed(self.lm.log_probs_of(ids), ids)

    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[Floats]:
        """Return the log-probabilities of lines that know nothing of each other."""
        own = self.lm.log_probs_of_lines(lines)
        return [self.mixed(*each) for each in zip(own, lines, strict=True)]

    def mixed(self, own: Floats, ids: NDArray[np.integer]) -> Floats:
        """Return `(N,)` log-probabilities of a text out of those that the wrapped model gave it.

        Args:
            own: `(N,)`, the wrapped model's.
            ids: `(N,)`, the text.
        """
        words = torch.from_numpy(np.concatenate([[self.vocabulary.eos], ids]).astype(np.int64))
        cached = recency(words, self.options.half_life).log().numpy()
        return mix(own, cached, self.options.weight)

    def facts(self) -> dict[str, Any]:
        """Return the options; a cache learns nothing but what its state holds."""
        return self.options.model_dump(mode="json")

    @classmethod
    def restore(cls, saved: Saved) -> UnigramCacheModel:
        """Return the model that `facts` describe, over the one in `inner`.

        Raises:
            CheckpointError: the options are not valid, or there is not one model, or there are
                tensors.
        """
        lm, options = restored(saved, cls.kind, UnigramCacheOptions)
        return cls(lm, options)
