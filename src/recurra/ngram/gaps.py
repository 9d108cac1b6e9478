"""N-grams that a table lacks, put in so that what it says stays what it was."""

from __future__ import annotations

import numpy as np

from recurra.ngram.arrays import LAST_KEY, Integers
from recurra.ngram.backoff import BackoffLevel, BackoffNgrams

__all__ = ["filled"]


def filled(ngrams: BackoffNgrams, grams: Integers) -> BackoffNgrams:
    """Return the model with some n-grams more, and with all that they begin with.

    Each gets the probability that backing off gave it, and the weight of what is no context: one.
    So every probability is what it was, and longer n-grams can begin with them.

    Args:
        ngrams: the model.
        grams: `(M, n)` word ids, n less than the order; those that are there stay as they are.

    Example:
        >>> words = np.log([0.5, 0.25, 0.25])
        >>> none = BackoffLevel(np.array([LAST_KEY]), np.zeros(1), np.zeros(4), 3)
        >>> longer = BackoffLevel(np.array([LAST_KEY]), np.zeros(1), np.zeros(1), 3)
        >>> more = filled(BackoffNgrams(words, (none, longer), eos=0), np.array([[1, 2]]))
        >>> more.sizes, float(np.exp(more.levels[0].log_probs[0]))
        ((3, 1, 0), 0.25)
    """
    for n in range(2, grams.shape[1] + 1):
        ngrams = _with(ngrams, np.unique(grams[:, :n], axis=0))
    return ngrams


def _with(ngrams: BackoffNgrams, grams: Integers) -> BackoffNgrams:
    """Return the model with `(M, n)` distinct n-grams in order, which begin with those it has."""
    n, size = grams.shape[1], ngrams.vocabulary_size
    level, longer = ngrams.levels[n - 2 : n]
    contexts = grams[:, 0]
    for shorter, column in zip(ngrams.levels, grams.T[1:-1]):
        contexts = shorter.find(contexts, column)
    new = level.find(contexts, grams[:, -1]) < 0
    keys = contexts[new] * size + grams[new, -1]
    places = np.searchsorted(level.keys, keys)
    log_probs = np.insert(level.log_probs, places, ngrams.last_log_probs(grams[new]))
    moved = np.arange(len(level.keys) - 1) + np.searchsorted(keys, level.keys[:-1])
    before, words = np.divmod(longer.keys[:-1], size)
    return BackoffNgrams(
        ngrams.log_unigrams,
        (
            *ngrams.levels[: n - 2],
            BackoffLevel(np.insert(level.keys, places, keys), log_probs, level.log_backoffs, size),
            BackoffLevel(
                np.append(moved[before] * size + words, LAST_KEY),
                longer.log_probs,
                np.insert(longer.log_backoffs, places, 0.0),
                size,
            ),
            *ngrams.levels[n:],
        ),
        ngrams.eos,
    )
