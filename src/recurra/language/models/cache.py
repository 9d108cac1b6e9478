"""The pointer cache: what followed moments like this one is likely to follow it.

B rows, H units, V tokens in the vocabulary, N tokens in a text, W entries of the cache, S settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.cached import device_of, mix, restored
from recurra.language.models.network import Hidden, Span
from recurra.language.options import CacheOptions, checked
from recurra.nn.kernels.pointer import pointer
from recurra.nn.state import State
from recurra.work import worked_on

__all__ = ["CacheModel", "CacheState", "cache", "pointer_log_probs"]

ROWS = 256
"""Tokens of a document that look into the cache together."""

Floats = NDArray[np.float64]


class CacheState(NamedTuple):
    """The wrapped model's state; the last words read `(B, W)`, -1 where there is none yet, and the
    hidden vector after each, `(B, W, H)`."""

    inner: State
    words: Tensor
    hidden: Tensor


def cache(
    lm: LanguageModel, *, weight: float = 0.15, theta: float = 0.3, window: int = 500
) -> CacheModel:
    """Return `lm` mixed with a pointer cache over its hidden vectors.

    The defaults serve a tied 2x200 network best on validation text of PTB (perplexity 156.8
    becomes 131.3). The best theta depends on how long a network's hidden vectors are; the
    paper's is 1 or less: `pointer_log_probs` tries many at once.

    Args:
        lm: a network, or one that is evaluated dynamically; it is left as it is.
        weight: of the cache, from 0 to 1; with 1 the cache speaks alone, and a token that is not
            in it has the log-probability -inf.
        theta: how much a vector that is more alike counts; 0: the words of the window by count.
        window: W, in tokens.

    Raises:
        ConfigError: for a model without hidden vectors, or a value out of range.
    """
    return CacheModel(
        lm, checked(CacheOptions, "a cache", weight=weight, theta=theta, window=window)
    )


def pointer_log_probs(
    lm: LanguageModel, ids: NDArray[np.integer], settings: Sequence[tuple[float, int]]
) -> tuple[Floats, Floats]:
    """Return what a model, and pointer caches over it, each by itself, give the tokens of a text.

    One pass of the model serves all the settings: so are they chosen.

    Shapes: returns `(N,)`, and `(S, N)` with -inf for a token that is not in the cache. The first
    token, for which the cache is empty, has the model's own.

    Args:
        lm: a network, or one that is evaluated dynamically.
        ids: `(N,)`, one text.
        settings: theta and window of each cache.

    Raises:
        ConfigError: for a model without hidden vectors, or a value out of range.
    """
    for theta, window in settings:
        checked(CacheOptions, "a cache", theta=theta, window=window)
    return _look_up(_hidden(lm).spans(ids), ids, settings)


class CacheModel(LanguageModel):
    """A language model mixed with a pointer cache over its hidden vectors.

        p(x) = (1 - weight) p_lm(x) + weight p_cache(x)
        p_cache(x) = sum_i [x_{i+1} = x] exp(theta h_t . h_i) / sum_i exp(theta h_t . h_i)

    over the last `window` positions i whose next word is known. Before there is one, p = p_lm.

    Args:
        lm: a network, or one that is evaluated dynamically; never changed.
        options: weight, theta and window.

    Raises:
        ConfigError: for a model without hidden vectors.

    Source: Grave, Joulin & Usunier 2017, "Improving neural language models with a continuous
        cache", equations 2 and 3, with linear interpolation.
    """

    kind = "cache"

    def __init__(self, lm: LanguageModel, options: CacheOptions) -> None:
        super().__init__(lm.vocabulary, lm.rule, lm)
        self.lm = _hidden(lm)
        self.options = options

    def initial_state(self, batch_size: int = 1) -> CacheState:
        """Return the wrapped model's initial state and an empty cache."""
        inner = self.inner[0].initial_state(batch_size)
        device = device_of(inner)
        W = self.options.window
        words = torch.full((batch_size, W), -1, device=device)
        return CacheState(
            inner, words, torch.zeros(batch_size, W, self.lm.hidden_size, device=device)
        )

    def step(self, token: int | Tensor, state: CacheState) -> tuple[Tensor, CacheState]:
        """Read a token; return the next one's log-probabilities in nats, and the state."""
        log_probs, hidden, inner = self.lm.step_with_hidden(token, state.inner)
        read = torch.as_tensor(token, device=hidden.device).view(-1, 1)
        known = state.words >= 0
        following = torch.cat([state.words[:, 1:], read], dim=1)
        scores = self.options.theta * (state.hidden @ hidden.unsqueeze(2)).squeeze(2)
        shares = torch.softmax(scores.masked_fill(~known, -math.inf), dim=1)
        shares = shares.masked_fill(~known, 0)
        places = following.clamp(min=0)
        cached = torch.zeros_like(log_probs).scatter_add_(1, places, shares).gather(1, places)
        # Only words of the cache gain; where one stands twice, the same value is written twice.
        weight = torch.tensor(self.options.weight, dtype=log_probs.dtype)
        mixed = log_probs + torch.log1p(-weight)
        gained = torch.logaddexp(mixed.gather(1, places), cached.log() + weight.log())
        mixed = torch.where(known.any(1, keepdim=True), mixed.scatter(1, places, gained), log_probs)
        kept = torch.cat([state.hidden[:, 1:], hidden.unsqueeze(1)], dim=1)
        return (mixed[0] if isinstance(token, int) else mixed), CacheState(inner, following, kept)

    def log_probs_of(self, ids: NDArray[np.integer]) -> Floats:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it."""
        return self._mixed(self.lm.spans(ids), ids)

    def log_probs_of_lines(self, lines: list[NDArray[np.integer]]) -> list[Floats]:
        """Return the log-probabilities of lines that know nothing of each other."""
        results = [np.zeros(0)] * len(lines)
        for n, span in self.lm.spans_of_lines(lines):
            results[n] = self._mixed([span], lines[n])
        return results

    def _mixed(self, spans: Iterable[Span], ids: NDArray[np.integer]) -> Floats:
        own, (cached,) = _look_up(spans, ids, [(self.options.theta, self.options.window)])
        # The first token's two are the same, and so is their mixture.
        return mix(own, cached, self.options.weight)

    def facts(self) -> dict[str, Any]:
        """Return the options; a cache learns nothing but what its state holds."""
        return self.options.model_dump(mode="json")

    @classmethod
    def restore(cls, saved: Saved) -> CacheModel:
        """Return the model that `facts` describe, over the one in `inner`.

        Raises:
            CheckpointError: the options are not valid, or there is not one model with hidden
                vectors, or there are tensors.
        """
        lm, options = restored(saved, cls.kind, CacheOptions)
        try:
            return cls(lm, options)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error


def _look_up(
    spans: Iterable[Span], ids: NDArray[np.integer], settings: Sequence[tuple[float, int]]
) -> tuple[Floats, Floats]:
    """Return `(N,)` log-probabilities of the model, and `(S, N)` those of caches alone."""
    words = torch.from_numpy(np.asarray(ids, np.int64))
    longest = max((window for _, window in settings), default=1)
    own, cached = np.zeros(len(ids)), np.zeros((len(settings), len(ids)))
    past: Tensor | None = None
    at = 0
    for span in worked_on(_stretches(spans), "looking back", "stretches"):
        end = at + len(span.hidden)
        own[at:end] = span.log_probs
        keys = span.hidden if past is None else torch.cat([past, span.hidden])
        following = words[end - len(keys) : end].to(keys.device)
        match = words[at:end, None].to(keys.device) == following
        scores = span.hidden @ keys.t()
        for n, (theta, window) in enumerate(settings):
            share = pointer(scores, match, theta, window)
            cached[n, at:end] = share.double().log().cpu().numpy()
        past = keys[-longest:]
        at = end
    cached[:, :1] = own[:1]
    return own, cached


def _stretches(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield the same in stretches of ROWS."""
    waiting: list[Span] = []
    rows = 0
    for span in spans:
        waiting.append(span)
        rows += len(span.hidden)
        if rows >= ROWS:
            yield from _cut(waiting)
            waiting, rows = [], 0
    yield from _cut(waiting)


def _cut(spans: list[Span]) -> Iterator[Span]:
    if spans:
        hidden = torch.cat([span.hidden for span in spans])
        log_probs = np.concatenate([span.log_probs for span in spans])
        for start in range(0, len(hidden), ROWS):
            yield Span(hidden[start : start + ROWS], log_probs[start : start + ROWS])


def _hidden(lm: LanguageModel) -> Hidden:
    if not isinstance(lm, Hidden):
        raise ConfigError(
            f"a pointer cache looks at hidden vectors, which a {lm.kind} model has not; "
            "unigram_cache takes any model"
        )
    return lm
