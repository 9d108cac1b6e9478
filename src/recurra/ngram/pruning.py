"""Fewer n-grams for nearly the same distribution: pruning by relative entropy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from recurra.errors import ConfigError
from recurra.ngram.arrays import LAST_KEY, Floats, Integers, opened
from recurra.ngram.backoff import BackoffLevel, BackoffNgrams
from recurra.work import worked_on

__all__ = ["pruned"]

LEAST = 1e-13  # of a distribution: less than this is what rounding leaves


def pruned(ngrams: BackoffNgrams, threshold: float, ids: ArrayLike) -> BackoffNgrams:
    """Return the model without the n-grams that it hardly misses; it sums to one as before.

    An n-gram goes where doing without it alone would raise the perplexity by a smaller part
    than the threshold, and no longer one that begins with it stays. What stays keeps its
    probability, and the weight of each context is made anew. Words alone always stay.

    Source: Stolcke, 1998, equations 3 to 5.
    Differs: how often a context occurs is counted in a text; Stolcke multiplies the model's own
        probabilities, which in Kneser-Ney are not those of occurrences (Chelba et al., 2010).

    Args:
        ngrams: the model.
        threshold: part of the perplexity, as 1e-7; 0 prunes nothing.
        ids: `(T,)` a text, as the one the model was counted from.

    Raises:
        ConfigError: the threshold is negative or not a number.
        DataError: an id is outside the vocabulary.

    Example:
        >>> level = BackoffLevel(
        ...     np.array([1, LAST_KEY]), np.log([0.5, 1.0]), np.zeros(3), vocabulary_size=2
        ... )
        >>> coin = BackoffNgrams(np.log([0.5, 0.5]), (level,), eos=0)
        >>> pruned(coin, 1e-9, [1, 0]).sizes  # the bigram says what the word alone says
        (2, 0)
    """
    if not 0 <= threshold < math.inf:
        raise ConfigError(f"the threshold of pruning is {threshold}; it is a number from 0 on")
    if threshold == 0:
        return ngrams
    text = opened(ids, ngrams.vocabulary_size, ngrams.eos)
    occurrences = [contexts[contexts >= 0] for contexts, _ in ngrams.ranks_in(text)]
    kept: list[Integers] = []  # ranks of the n-grams that stay, the longest n first
    contexts = np.zeros(0, np.int64)  # ranks that a longer n-gram needs
    for n in worked_on(range(ngrams.order, 1, -1), "pruning n-grams", "lengths"):
        level = ngrams.levels[n - 2]
        times = np.bincount(occurrences[n - 2], minlength=ngrams.sizes[n - 2])
        stays = _loss(ngrams, n, times / (len(text) - 1)) >= threshold
        stays[contexts] = True
        kept.append(np.flatnonzero(stays))
        contexts = np.unique(level.keys[kept[-1]] // ngrams.vocabulary_size)
    return _renormalized(ngrams, kept[::-1])


def _loss(ngrams: BackoffNgrams, n: int, frequencies: Floats) -> Floats:
    """Return by which part the perplexity grows without each n-gram of a length, `(M_n,)`."""
    level = ngrams.levels[n - 2]
    contexts = level.keys[:-1] // ngrams.vocabulary_size
    log_probs = level.log_probs[:-1]
    shorter = ngrams.last_log_probs(ngrams.grams(n)[:, 1:])
    free_below = _left_free(contexts, np.exp(shorter), len(frequencies))[contexts]
    log_weight = level.log_backoffs[:-1][contexts]
    free = np.exp(log_weight) * free_below
    new_weight = np.log(free + np.exp(log_probs)) - np.log(free_below + np.exp(shorter))
    change = np.exp(log_probs) * (shorter + new_weight - log_probs)
    change += free * (new_weight - log_weight)
    loss: Floats = np.expm1(-frequencies[contexts] * change)
    return loss


def _left_free(contexts: Integers, probabilities: Floats, count: int) -> Floats:
    """Return what the words seen after each of `count` contexts leave of a distribution."""
    return np.maximum(1 - np.bincount(contexts, probabilities, minlength=count), 0)


def _renormalized(ngrams: BackoffNgrams, kept: list[Integers]) -> BackoffNgrams:
    """Return the model of the n-grams that stay, which include the contexts of each."""
    size = ngrams.vocabulary_size
    result = BackoffNgrams(ngrams.log_unigrams, (), ngrams.eos)
    before = np.arange(size)  # ranks, in the whole model, of the shorter n-grams that stayed
    for n, stays in enumerate(kept, start=2):
        level, count = ngrams.levels[n - 2], ngrams.sizes[n - 2]
        contexts, words = np.divmod(level.keys[:-1], size)
        grams = ngrams.grams(n)
        shorter = np.exp(ngrams.last_log_probs(grams[:, 1:]))
        free = np.exp(level.log_backoffs[:-1]) * _left_free(contexts, shorter, count)
        goes = np.delete(np.arange(len(contexts)), stays)
        free += np.bincount(contexts[goes], np.exp(level.log_probs[goes]), minlength=count)
        shorter_now = np.exp(result.last_log_probs(grams[stays, 1:]))
        free_below = _left_free(contexts[stays], shorter_now, count)
        usable = (free_below > LEAST) & (free > 0)
        weights = np.divide(free, free_below, out=np.ones(count), where=usable)
        weights[np.bincount(contexts[stays], minlength=count) == 0] = 1
        keys = np.searchsorted(before, contexts[stays]) * size + words[stays]
        log_probs = level.log_probs[np.append(stays, -1)]
        log_backoffs = np.append(np.log(weights[before]), 0.0)
        result = BackoffNgrams(
            ngrams.log_unigrams,
            (
                *result.levels,
                BackoffLevel(np.append(keys, LAST_KEY), log_probs, log_backoffs, size),
            ),
            ngrams.eos,
        )
        before = stays
    return result
