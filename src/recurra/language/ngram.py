"""The n-gram language model: interpolated modified Kneser-Ney, in sorted numpy arrays.

Shapes: V words of the vocabulary, N the order, T tokens of a text, M_n distinct n-grams.
An n-gram is known by its rank among the n-grams of its length, and found by its key
`rank of its first n - 1 words * V + last word`. A word is its own rank; -1 is unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurra.errors import CheckpointError, ConfigError, DataError

__all__ = ["KneserNey", "Level"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

LAST_KEY = np.iinfo(np.int64).max  # sorts after every n-gram, so a search never runs off the end
FIELDS = ("keys", "probabilities", "backoffs")


@dataclass(frozen=True, eq=False)
class Level:
    """All n-grams of one length n >= 2, sorted by key.

    Each array ends in an entry for rank -1, the unseen: as an n-gram it adds nothing,
    as a context it hands everything to the shorter ones. So no look-up asks whether it hit.

    Args:
        keys: `(M_n + 1,)` int64, increasing.
        probabilities: `(M_n + 1,)` discounted share of its context's counts, 0 to 1.
        backoffs: `(M_{n-1} + 1,)` weight of the shorter context's distribution, 0 to 1; M_1 = V.
        vocabulary_size: V, in words.

    Example:
        >>> keys, half = np.array([0 * 3 + 2, 1 * 3 + 0, LAST_KEY]), np.array([0.5, 0.5, 0.0])
        >>> level = Level(keys, half, np.array([0.5, 0.5, 1.0, 1.0]), vocabulary_size=3)
        >>> level.find(np.array([0, 0, 1, -1]), np.array([1, 2, 0, 2]))
        array([-1,  0,  1, -1])
    """

    keys: Integers
    probabilities: Floats
    backoffs: Floats
    vocabulary_size: int

    def find(self, contexts: Integers, words: Integers) -> Integers:
        """Return the ranks of n-grams, -1 where unseen.

        Args:
            contexts: `(T,)` ranks of their first n - 1 words, -1 where unseen.
            words: `(T,)` ids of their last words.
        """
        keys = contexts * self.vocabulary_size + words
        ranks = np.searchsorted(self.keys, keys)
        return np.where(self.keys[ranks] == keys, ranks, -1)

    def followers(self, context: int) -> tuple[Integers, Floats]:
        """Return the words seen after a context, and their probabilities.

        Args:
            context: rank of the n - 1 words, -1 if unseen.
        """
        first_key = context * self.vocabulary_size
        start, stop = np.searchsorted(self.keys, [first_key, first_key + self.vocabulary_size])
        return self.keys[start:stop] - first_key, self.probabilities[start:stop]


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
    def fit(cls, ids: ArrayLike, order: int, vocabulary_size: int, eos: int) -> KneserNey:
        """Count the n-grams of a text and smooth them.

        Args:
            ids: `(T,)` token ids of the training text, each sentence closed by `eos`.
            order: words in the longest n-gram, at least 1.
            vocabulary_size: V, in words.
            eos: id of `<eos>`.

        Raises:
            ConfigError: the order is below 1.
            DataError: there is no token, or an id outside the vocabulary.
        """
        if order < 1:
            raise ConfigError(f"the order of an n-gram model is {order}; it starts at 1")
        text = _opened(ids, vocabulary_size, eos)
        if len(text) == 1:
            raise DataError("no tokens: an n-gram model is counted from at least one")
        counted = _adjusted_counts(text, order, vocabulary_size, eos)
        _, counts = next(counted)
        discounts = _discounts(counts)
        unigrams = (counts - discounts + discounts.sum() / vocabulary_size) / counts.sum()
        levels: list[Level] = []
        for keys, counts in counted:
            shorter = len(levels[-1].keys) - 1 if levels else vocabulary_size
            levels.append(_smooth(keys, counts, shorter, vocabulary_size))
        return cls(unigrams, tuple(levels), eos)

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
        text = _opened(ids, self.vocabulary_size, self.eos)
        probabilities = self.unigrams[text[1:]]
        ranks = text  # of the n-grams, n growing, that end at each token from the n-th on
        for n, level in enumerate(self.levels, start=1):
            contexts, ranks = ranks[:-1], level.find(ranks[:-1], text[n:])
            reached = probabilities[n - 1 :]
            reached *= level.backoffs[contexts]
            reached += level.probabilities[ranks]
        return np.log(probabilities)

    def distribution(self, history: Sequence[int] | Integers) -> Floats:
        """Return the `(V,)` natural-log probabilities of the token after a document's beginning.

        Costs O(V) and the words seen after each context, whatever the history's length.

        Args:
            history: the tokens so far, none at the start; the context before them is `<eos>`.

        Raises:
            DataError: one of the last N - 1 ids is outside the vocabulary.
        """
        longest = len(self.levels)
        text = _opened(history[max(len(history) - longest, 0) :], self.vocabulary_size, self.eos)
        probabilities = self.unigrams.copy()
        ranks = text
        for n, level in enumerate(self.levels[: len(text)], start=1):
            context = int(ranks[-1])
            words, shares = level.followers(context)
            probabilities *= level.backoffs[context]
            probabilities[words] += shares
            ranks = level.find(ranks[:-1], text[n:])
        return np.log(probabilities)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything the model is made of, by name, for saving."""
        lengths = {
            f"{n}.{field}": getattr(level, field)
            for n, level in enumerate(self.levels, start=2)
            for field in FIELDS
        }
        return {"eos": np.array([self.eos], np.int64), "unigrams": self.unigrams, **lengths}

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
        order = 1 + len({name.split(".")[0] for name in tensors if "." in name})
        names = {f"{n}.{field}" for n in range(2, order + 1) for field in FIELDS}
        names |= {"eos", "unigrams"}
        if names != set(tensors):
            raise CheckpointError(
                f"n-gram model: arrays missing: {sorted(names - set(tensors))}, "
                f"unexpected: {sorted(set(tensors) - names)}"
            )
        vocabulary_size = shorter = tensors["unigrams"].size
        unigrams = _expect(tensors, "unigrams", np.float64, vocabulary_size)
        eos = int(_expect(tensors, "eos", np.int64, 1)[0])
        if not 0 <= eos < vocabulary_size:
            raise CheckpointError(
                f"n-gram model: eos is {eos} in a vocabulary of {vocabulary_size}"
            )
        levels = []
        for n in range(2, order + 1):
            size = tensors[f"{n}.keys"].size
            keys = _expect(tensors, f"{n}.keys", np.int64, size)
            probabilities = _expect(tensors, f"{n}.probabilities", np.float64, size)
            backoffs = _expect(tensors, f"{n}.backoffs", np.float64, shorter + 1)
            if keys[-1:].tolist() != [LAST_KEY] or (keys[1:] <= keys[:-1]).any():
                raise CheckpointError(f"n-gram model: {n}.keys are not in order")
            levels.append(Level(keys, probabilities, backoffs, vocabulary_size))
            shorter = size - 1
        return cls(unigrams, tuple(levels), eos)


def _opened(ids: ArrayLike, vocabulary_size: int, eos: int) -> Integers:
    """Return the `(T + 1,)` text with the `<eos>` that stands before its first token."""
    text = np.concatenate(([eos], np.asarray(ids, dtype=np.int64)))
    if text.min() < 0 or text.max() >= vocabulary_size:
        raise DataError(
            f"token ids from {text.min()} to {text.max()}; "
            f"the model's vocabulary has 0 to {vocabulary_size - 1}"
        )
    return text


def _adjusted_counts(
    text: Integers, order: int, vocabulary_size: int, eos: int
) -> Iterator[tuple[Integers, Integers]]:
    """Yield the sorted keys and adjusted counts of the n-grams of lengths 1 to `order`."""
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
        yield keys, np.where(preceding > 0, preceding, counts)
        keys, counts = longer_keys, occurrences
        ranks[ends] = longer_ranks
    yield keys, counts


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


def _smooth(keys: Integers, counts: Integers, shorter: int, vocabulary_size: int) -> Level:
    """Return the level of n-grams with these counts, over `shorter` n-grams one word shorter."""
    contexts = keys // vocabulary_size
    discounts = _discounts(counts)
    totals = np.bincount(contexts, counts, minlength=shorter + 1)
    withheld = np.bincount(contexts, discounts, minlength=shorter + 1)
    never_followed = np.ones(shorter + 1)
    return Level(
        keys=np.append(keys, LAST_KEY),
        probabilities=np.append((counts - discounts) / totals[contexts], 0.0),
        backoffs=np.divide(withheld, totals, out=never_followed, where=totals > 0),
        vocabulary_size=vocabulary_size,
    )


def _expect(
    tensors: Mapping[str, NDArray[Any]], name: str, kind: type[np.generic], length: int
) -> NDArray[Any]:
    """Return the array of that name, refused if it does not have this type and length."""
    array = tensors[name]
    if array.dtype != kind or array.shape != (length,):
        raise CheckpointError(
            f"n-gram model: {name} is {array.dtype} {array.shape}, "
            f"expected {kind.__name__} ({length},)"
        )
    return array
