"""N-grams as tables of logarithms that back off: the form in which every n-gram model is asked.

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

from recurra.errors import CheckpointError, DataError
from recurra.ngram.arrays import (
    Floats,
    Integers,
    check_sizes,
    find,
    named,
    opened,
    read,
)

__all__ = ["BackoffLevel", "BackoffNgrams"]

FIELDS = ("keys", "log_probs", "log_backoffs")


@dataclass(frozen=True, eq=False)
class BackoffLevel:
    """All n-grams of one length n >= 2, sorted by key.

    Each array ends in an entry for rank -1, the unseen, which as a context changes nothing.

    Args:
        keys: `(M_n + 1,)` int64, increasing.
        log_probs: `(M_n + 1,)` of the last word given the others, in nats.
        log_backoffs: `(M_{n-1} + 1,)`, what is added to a word's log-probability after the
            shorter context where the n-gram is unseen; M_1 = V.
        vocabulary_size: V, in words.

    Example:
        >>> keys, half = np.array([0 * 3 + 2, 1 * 3 + 0, 2**63 - 1]), np.log([0.5, 0.5, 1.0])
        >>> level = BackoffLevel(keys, half, np.zeros(4), vocabulary_size=3)
        >>> level.find_one(0, 2), level.find_one(1, 2), level.find_one(-1, 2)
        (0, -1, -1)
    """

    keys: Integers
    log_probs: Floats
    log_backoffs: Floats
    vocabulary_size: int

    @cached_property
    def starts(self) -> Integers:
        """`(M_{n-1} + 2,)`: where each context's n-grams begin; those of rank -1 are none."""
        bounds = np.arange(len(self.log_backoffs)) * self.vocabulary_size
        starts = np.searchsorted(self.keys[:-1], bounds)
        return np.append(starts, starts[-1])

    def find(self, contexts: Integers, words: Integers) -> Integers:
        """Return the ranks of n-grams, -1 where unseen.

        Args:
            contexts: `(T,)` ranks of their first n - 1 words, -1 where unseen.
            words: `(T,)` ids of their last words.
        """
        return find(self.keys, self.vocabulary_size, contexts, words)

    def find_one(self, context: int, word: int) -> int:
        """Return the rank of one n-gram, -1 if unseen.

        Args:
            context: rank of its first n - 1 words, -1 if unseen.
            word: id of its last word.
        """
        if context < 0:
            return -1
        start, stop = self.starts[context], self.starts[context + 1]
        if start == stop:
            return -1
        key = context * self.vocabulary_size + word
        rank = int(start + self.keys[start:stop].searchsorted(key))
        return rank if self.keys[rank] == key else -1


@dataclass(frozen=True, eq=False)
class BackoffNgrams:
    """An n-gram model in back-off form, as ARPA files hold it.

        log p(w | h) = log_prob(hw)                      where the n-gram hw is seen
                       log_backoff(h) + log p(w | h')    where not

    with h' the context h without its first word. `<eos>` stands before a sentence's first word
    and ends it, and no context reaches beyond it.

    Source: Katz, 1987, equation 15, for the form.

    Args:
        log_unigrams: `(V,)` log-probabilities of the words without context, in nats.
        levels: the n-grams of lengths 2 to N.
        eos: id of `<eos>`.

    Example:
        >>> coin = BackoffNgrams(np.log([0.5, 0.5]), (), eos=0)
        >>> coin.log_probs_of([1, 0]).round(4)
        array([-0.6931, -0.6931])
    """

    log_unigrams: Floats
    levels: tuple[BackoffLevel, ...]
    eos: int

    @property
    def order(self) -> int:
        """N: words in the longest n-gram, the predicted one included."""
        return 1 + len(self.levels)

    @property
    def vocabulary_size(self) -> int:
        """V: words the model gives a probability to."""
        return len(self.log_unigrams)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many n-grams there are of each length from 1 on."""
        return (self.vocabulary_size, *(len(level.keys) - 1 for level in self.levels))

    def log_probs_of(self, ids: ArrayLike) -> Floats:
        """Return the `(T,)` natural-log probabilities of a document's tokens, all at once.

        Args:
            ids: `(T,)` token ids; the context before the first is `<eos>`.

        Raises:
            DataError: an id is outside the vocabulary.
        """
        text = opened(ids, self.vocabulary_size, self.eos)
        paths = list(self.ranks_in(text))
        return self._followed(self.log_unigrams[text[1:]], paths)

    def _followed(self, log_probs: Floats, paths: list[tuple[Integers, Integers]]) -> Floats:
        """Put in the longest n-gram seen; sums run longest first, as in `distribution_after`."""
        weight = np.zeros(len(log_probs))  # of what the longer contexts take off
        weights = []
        for level, (contexts, _) in zip(reversed(self.levels), reversed(paths)):
            weights.append(weight[len(weight) - len(contexts) :].copy())
            weight[len(weight) - len(contexts) :] += level.log_backoffs[contexts]
        log_probs = log_probs + weight
        for level, (_, ranks), longer in zip(self.levels, paths, reversed(weights)):
            reached = log_probs[len(log_probs) - len(ranks) :]
            np.copyto(reached, level.log_probs[ranks] + longer, where=ranks >= 0)
        return log_probs

    def ranks_in(self, text: Integers) -> Iterator[tuple[Integers, Integers]]:
        """Yield, for each length n from 2 on, the contexts and the n-grams of a text.

        Args:
            text: `(T + 1,)` ids, `<eos>` first.

        Both are `(T + 2 - n,)` ranks, for the tokens from the n-th of `text` on.
        """
        ranks = text
        for n, level in enumerate(self.levels, start=1):
            contexts, ranks = ranks[:-1], level.find(ranks[:-1], text[n:])
            yield contexts, ranks

    def last_log_probs(self, grams: Integers) -> Floats:
        """Return `(M,)`: the log-probability of each row's last word given those before it.

        Args:
            grams: `(M, n)` word ids, n at most the order; no context is added before them.
        """
        n = grams.shape[1]
        columns = [grams[:, column] for column in range(n)]
        ranks, paths = columns, []  # ranks of the n-grams that end in each column
        for level in self.levels[: n - 1]:
            contexts, words = ranks[:-1], columns[len(columns) - len(ranks) + 1 :]
            ranks = [level.find(*pair) for pair in zip(contexts, words)]
            paths.append((contexts[-1], ranks[-1]))
        shorter = BackoffNgrams(self.log_unigrams, self.levels[: n - 1], self.eos)
        return shorter._followed(self.log_unigrams[columns[-1]], paths)

    def grams(self, n: int, start: int = 0, stop: int | None = None) -> Integers:
        """Return `(M, n)`: the words of the n-grams of one length, in the order of their ranks.

        Args:
            n: from 1 to the order.
            start: first rank.
            stop: the rank before which to end; all.
        """
        ranks = np.arange(self.sizes[n - 1])[start:stop]
        words = np.empty((len(ranks), n), np.int64)
        for column in range(n - 1, 0, -1):
            ranks, words[:, column] = np.divmod(
                self.levels[column - 1].keys[ranks], self.vocabulary_size
            )
        words[:, 0] = ranks
        return words

    def distribution(self, history: Sequence[int] | Integers) -> Floats:
        """Return the `(V,)` natural-log probabilities of the token after a document's beginning.

        Args:
            history: the tokens so far, none at the start; the context before them is `<eos>`.

        Raises:
            DataError: one of the last N - 1 ids is outside the vocabulary.
        """
        recent = history[max(len(history) - len(self.levels), 0) :]
        contexts = [-1] * len(self.levels)
        for token in opened(recent, self.vocabulary_size, self.eos).tolist():
            contexts = self.read(token, contexts)
        return self.distribution_after(contexts)

    def read(self, token: int, contexts: Sequence[int]) -> list[int]:
        """Return the ranks of the n-grams, of lengths 1 to N - 1, that now end the text.

        Args:
            token: the id that is read.
            contexts: the ranks before it; -1 each before any token, as what is unseen.

        Raises:
            DataError: the id is outside the vocabulary.
        """
        if not 0 <= token < self.vocabulary_size:
            raise DataError(
                f"token id {token}; the model's vocabulary has 0 to {self.vocabulary_size - 1}"
            )
        pairs = zip(self.levels[:-1], contexts)
        longer = [level.find_one(context, token) for level, context in pairs]
        return [token, *longer][: len(self.levels)]

    def distribution_after(self, contexts: Sequence[int], out: Floats | None = None) -> Floats:
        """Return the `(V,)` log-probabilities of the token after contexts that `read` returned.

        Costs one sum over V, and an assignment for each word seen after a context.

        Args:
            contexts: ranks of the n-grams of lengths 1 to N - 1 that end the text, -1 if unseen.
            out: `(V,)`, where to put the result; a new array.
        """
        weight, weights = 0.0, []
        for level, context in zip(reversed(self.levels), reversed(contexts)):
            weights.append(weight)
            weight += level.log_backoffs[context]
        log_probs: Floats = np.add(self.log_unigrams, weight, out)
        for level, context, longer in zip(self.levels, contexts, reversed(weights)):
            if context >= 0:
                start, stop = level.starts[context], level.starts[context + 1]
                words = level.keys[start:stop] - context * level.vocabulary_size
                log_probs[words] = level.log_probs[start:stop] + longer
        return log_probs

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything the model is made of, by name, for saving."""
        return named(self.eos, {"log_unigrams": self.log_unigrams}, self.levels, FIELDS)

    @classmethod
    def check_sizes(cls, sizes: Mapping[str, tuple[int, ...]], vocabulary_size: int) -> None:
        """Raise unless `from_tensors` may find a model in arrays of these sizes.

        Args:
            sizes: name -> shape.
            vocabulary_size: V.

        Raises:
            CheckpointError: a name is missing or unexpected, or an array is of another size.
        """
        check_sizes(sizes, "log_unigrams", FIELDS, vocabulary_size)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> BackoffNgrams:
        """Return the model that `tensors` was taken from.

        Args:
            tensors: name -> array, as `tensors()` gives them.

        Raises:
            CheckpointError: a name is missing or unexpected, or an array does not fit.

        Example:
            >>> model = BackoffNgrams(np.log([0.5, 0.5]), (), eos=0)
            >>> BackoffNgrams.from_tensors(model.tensors()).order
            1
        """
        eos, log_unigrams, arrays = read(tensors, "log_unigrams", FIELDS)
        levels = [BackoffLevel(*each, log_unigrams.size) for each in arrays]
        parts = [log_unigrams, *(a for v in levels for a in (v.log_probs, v.log_backoffs))]
        if not all(np.isfinite(part).all() for part in parts):
            raise CheckpointError("n-gram model: a logarithm is not a finite number")
        return cls(log_unigrams, tuple(levels), eos)
