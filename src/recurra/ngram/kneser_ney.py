"""The n-gram language model: interpolated modified Kneser-Ney, counted in sorted numpy arrays.

Shapes: V words of the vocabulary, N the order, T tokens of a text, M_n distinct n-grams.
An n-gram is known by its rank among the n-grams of its length, and found by its key
`rank of its first n - 1 words * V + last word`. A word is its own rank; -1 is unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.ngram.arrays import (
    LAST_KEY,
    Floats,
    Integers,
    check_sizes,
    named,
    opened,
    read,
)
from recurra.ngram.backoff import BackoffLevel, BackoffNgrams
from recurra.ngram.pruning import pruned
from recurra.work import worked_on

__all__ = ["KneserNey", "Level"]

FIELDS = ("keys", "probabilities", "backoffs")


@dataclass(frozen=True, eq=False)
class Level:
    """What all n-grams of one length n >= 2, sorted by key, add to the shorter ones.

    Each array ends in an entry for rank -1, the unseen: as an n-gram it adds nothing,
    as a context it hands everything to the shorter ones.

    Args:
        keys: `(M_n + 1,)` int64, increasing.
        probabilities: `(M_n + 1,)` discounted share of its context's counts, 0 to 1.
        backoffs: `(M_{n-1} + 1,)` weight of the shorter context's distribution, 0 to 1; M_1 = V.
    """

    keys: Integers
    probabilities: Floats
    backoffs: Floats


@dataclass(frozen=True, eq=False)
class KneserNey:
    """An interpolated modified Kneser-Ney language model.

    With a the adjusted counts, a(h.) their sum over what follows h, D the discounts of a length
    and h' the context h without its first word:

        p(w | h) = (a(hw) - D(a(hw))) / a(h.) + b(h) p(w | h')
        b(h) = sum_w D(a(hw)) / a(h.)

    down to the words alone, which are interpolated with 1 / V: nothing is impossible. The
    longest n-grams and those that open a sentence count their occurrences, the others the
    distinct words seen before them. `<eos>` stands before a sentence's first word and ends it,
    and no context reaches beyond it.

    Chosen on the validation text of PTB, order 5: no n-gram is cut off, perplexity 148.0 (148.4
    without the 5-grams of count one, 155.4 without any of count one from length 3 on). N-grams
    that open a sentence keep their occurrences (158.5 if each counts once).

    Source: Kneser & Ney, 1995; Chen & Goodman, 1998, section 3 (modified, interpolated);
        Heafield et al., 2013, section 3 (counts at the start of a sentence).

    Args:
        unigrams: `(V,)` probabilities of the words without context; they sum to one.
        levels: the n-grams of lengths 2 to N.
        eos: id of `<eos>`.

    Example:
        >>> model = KneserNey.fit(np.array([1, 2, 0, 1, 1, 0]), order=2, vocabulary_size=4, eos=0)
        >>> model.order, model.vocabulary_size
        (2, 4)
        >>> round(float(np.exp(model.distribution([1])).sum()), 12)
        1.0
    """

    unigrams: Floats
    levels: tuple[Level, ...]
    eos: int

    @property
    def order(self) -> int:
        """N: words in the longest n-gram, the predicted one included."""
        return 1 + len(self.levels)

    @property
    def vocabulary_size(self) -> int:
        """V: words the model gives a probability to."""
        return len(self.unigrams)

    @classmethod
    def fit(
        cls,
        ids: ArrayLike,
        order: int,
        vocabulary_size: int,
        eos: int,
        cutoffs: Sequence[int] = (0,),
    ) -> KneserNey:
        """Count the n-grams of a text and smooth them.

        Args:
            ids: `(T,)` token ids of the training text, each sentence closed by `eos`.
            order: words in the longest n-gram, at least 1.
            vocabulary_size: V, in words.
            eos: id of `<eos>`.
            cutoffs: an n-gram that occurs at most this often is left out, and its share of the
                context goes to the shorter ones: one for each length from 1 on, the last for
                all longer ones; the first is 0, none is less than the one before.

        Raises:
            ConfigError: the order is below 1, or the cut-offs are none.
            DataError: there is no token, or an id outside the vocabulary.
        """
        if order < 1:
            raise ConfigError(f"the order of an n-gram model is {order}; it starts at 1")
        limits = list(cutoffs)
        if not limits or limits[0] != 0 or sorted(limits) != limits:
            raise ConfigError(
                f"cut-offs of n-grams are {limits}; the first is 0, and none is below the one "
                "before, as 0, 0, 1"
            )
        text = opened(ids, vocabulary_size, eos)
        if len(text) == 1:
            raise DataError("no tokens: an n-gram model is counted from at least one")
        counted = _adjusted_counts(text, order, vocabulary_size, eos)
        _, counts, _ = next(counted)
        discounts = _discounts(counts)
        unigrams = (counts - discounts + discounts.sum() / vocabulary_size) / counts.sum()
        levels: list[Level] = []
        before = np.arange(vocabulary_size)  # ranks of the shorter n-grams that stayed
        count = vocabulary_size
        longer = worked_on(counted, "counting n-grams", "lengths")
        for n, (keys, counts, occurrences) in enumerate(longer, start=2):
            stays = np.flatnonzero(occurrences > limits[min(n, len(limits)) - 1])
            levels.append(_smooth(keys, counts, count, vocabulary_size, before, stays))
            count, before = len(keys), stays
        return cls(unigrams, tuple(levels), eos)

    @cached_property
    def backoff(self) -> BackoffNgrams:
        """The same model as tables of logarithms, which it is asked through.

        Raises:
            CheckpointError: the end of an n-gram is no n-gram, which none that was counted has.
        """
        probabilities, shorter = self.unigrams, np.arange(0)
        levels: list[BackoffLevel] = []
        for level in self.levels:
            contexts, words = np.divmod(level.keys[:-1], self.vocabulary_size)
            # `shorter`: the rank of each n-gram's last n - 1 words
            shorter = levels[-1].find(shorter[contexts], words) if levels else words
            if (shorter < 0).any():
                raise CheckpointError("n-gram model: the end of an n-gram is not in it")
            probabilities = probabilities[shorter] * level.backoffs[contexts]
            probabilities += level.probabilities[:-1]
            log_probs = np.append(np.log(probabilities), 0.0)
            log_backoffs = np.log(level.backoffs)
            levels.append(BackoffLevel(level.keys, log_probs, log_backoffs, self.vocabulary_size))
        return BackoffNgrams(np.log(self.unigrams), tuple(levels), self.eos)

    def pruned(self, threshold: float, ids: ArrayLike) -> BackoffNgrams:
        """Return the model without the n-grams that it hardly misses, as `pruning.pruned` does.

        Args:
            threshold: part of the perplexity that doing without an n-gram may cost.
            ids: `(T,)` the training text, for how often each context occurs.

        Raises:
            ConfigError: the threshold is negative or not a number.
            DataError: an id is outside the vocabulary.
        """
        return pruned(self.backoff, threshold, ids)

    def log_probs_of(self, ids: ArrayLike) -> Floats:
        """Return the `(T,)` natural-log probabilities of a document's tokens, all at once.

        Args:
            ids: `(T,)` token ids; the context before the first is `<eos>`.

        Raises:
            DataError: an id is outside the vocabulary.

        Example:
            >>> model = KneserNey.fit([1, 2, 0, 1, 1, 0], order=3, vocabulary_size=3, eos=0)
            >>> given_one = model.distribution([1])
            >>> bool(np.isclose(model.log_probs_of([1, 2])[1], given_one[2]))
            True
        """
        return self.backoff.log_probs_of(ids)

    def distribution(self, history: Sequence[int] | Integers) -> Floats:
        """Return the `(V,)` natural-log probabilities of the token after a document's beginning.

        Args:
            history: the tokens so far, none at the start; the context before them is `<eos>`.

        Raises:
            DataError: one of the last N - 1 ids is outside the vocabulary.
        """
        return self.backoff.distribution(history)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything the model is made of, by name, for saving."""
        return named(self.eos, {"unigrams": self.unigrams}, self.levels, FIELDS)

    @classmethod
    def check_sizes(cls, sizes: Mapping[str, tuple[int, ...]], vocabulary_size: int) -> None:
        """Raise unless `from_tensors` may find a model in arrays of these sizes.

        Args:
            sizes: name -> shape.
            vocabulary_size: V.

        Raises:
            CheckpointError: a name is missing or unexpected, or an array is of another size.
        """
        check_sizes(sizes, "unigrams", FIELDS, vocabulary_size)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> KneserNey:
        """Return the model that `tensors` was taken from.

        Args:
            tensors: name -> array, as `tensors()` gives them.

        Raises:
            CheckpointError: a name is missing or unexpected, or an array does not fit.

        Example:
            >>> model = KneserNey.fit([1, 2, 0], order=2, vocabulary_size=3, eos=0)
            >>> KneserNey.from_tensors(model.tensors()).order
            2
        """
        eos, unigrams, arrays = read(tensors, "unigrams", FIELDS)
        levels = [Level(*each) for each in arrays]
        parts = [a for level in levels for a in (level.probabilities[:-1], level.backoffs)]
        ends = [level.probabilities[-1] for level in levels]  # of what is unseen
        if not all(((part > 0) & (part < 1.001)).all() for part in [unigrams, *parts]) or any(ends):
            raise CheckpointError("n-gram model: a probability or a weight is not from 0 to 1")
        return cls(unigrams, tuple(levels), eos)


def _adjusted_counts(
    text: Integers, order: int, vocabulary_size: int, eos: int
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Yield the sorted keys, adjusted counts and occurrences of n-grams, length by length."""
    positions = np.arange(len(text))
    last_eos = np.maximum.accumulate(np.where(text == eos, positions, 0))
    context_length = positions[1:] - last_eos[:-1]  # words back to the `<eos>`, it included
    keys, counts = positions[:0], np.bincount(text[1:], minlength=vocabulary_size)
    ranks = text.copy()  # of the n-gram that ends at each position
    for n in range(2, order + 1):
        ends = 1 + np.flatnonzero(context_length >= n - 1)
        longer_keys, somewhere, longer_ranks, occurrences = np.unique(
            ranks[ends - 1] * vocabulary_size + text[ends],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        # Each distinct longer n-gram is one distinct word before the n-gram it ends in.
        preceding = np.bincount(ranks[ends[somewhere]], minlength=len(counts))
        yield keys, np.where(preceding > 0, preceding, counts), counts
        keys, counts = longer_keys, occurrences
        ranks[ends] = longer_ranks
    yield keys, counts, counts


def _discounts(counts: Integers) -> Floats:
    """Return what is taken from each adjusted count: one amount for 1, for 2, and for 3 or more.

    Where a count of counts is zero, or a discount would not be positive (small or odd texts),
    half of the count is taken, up to 3/2: every context leaves something to the unseen.
    """
    amounts = np.array([0, 0.5, 1.0, 1.5])
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)
    if min(n1, n2, n3, n4) > 0:
        share = n1 / (n1 + 2 * n2)
        estimate = np.array([0, share, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3])
        amounts = estimate if estimate[1:].min() > 0 else amounts
    return amounts[np.minimum(counts, 3)]


def _smooth(
    keys: Integers,
    counts: Integers,
    shorter: int,
    vocabulary_size: int,
    before: Integers,
    stays: Integers,
) -> Level:
    """Return the level of the n-grams of rank `stays` among those counted.

    Their contexts are among `before`, ranks of the `shorter` n-grams that are one word shorter.
    """
    contexts = keys // vocabulary_size
    totals = np.bincount(contexts, counts, minlength=shorter)
    discounts = _discounts(counts)
    withheld = counts.astype(float)
    withheld[stays] = discounts[stays]
    given_back = np.bincount(contexts, withheld, minlength=shorter)
    never_followed = np.ones(shorter)
    backoffs = np.divide(given_back, totals, out=never_followed, where=totals > 0)
    words, contexts, counts = keys[stays] % vocabulary_size, contexts[stays], counts[stays]
    return Level(
        keys=np.append(np.searchsorted(before, contexts) * vocabulary_size + words, LAST_KEY),
        probabilities=np.append((counts - discounts[stays]) / totals[contexts], 0.0),
        backoffs=np.append(backoffs[before], 1.0),
    )
