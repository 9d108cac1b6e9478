"""Mixtures of language models, and weights that validation chooses.

B rows, V tokens in the vocabulary, N tokens in a text, K parts, C buckets of contexts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError, DataError, ShapeError
from recurra.language.models.base import LanguageModel, Layout, Saved
from recurra.learning.weights import require_finite
from recurra.nn.state import State

__all__ = [
    "MixtureModel",
    "by_previous",
    "climb",
    "fit_weights",
    "mixed",
    "mixture",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

CLOSE = 1e-6
"""Nats a token that the best weights may still be ahead of those found."""

ROUNDS = 2000
"""Most steps that the weights climb."""

PRIOR = 100.0
"""Tokens' worth of the common weights that every bucket's weights begin with."""


class MixtureModel(LanguageModel):
    """The weighted mean of what several models say, itself a language model.

    With w the weights of the bucket that the token before falls into:

        p(token | context) = sum_k w_k p_k(token | context)

    Args:
        models: the parts, of one vocabulary and one rule.
        weights: `(K,)`, or `(C, K)` a row for each bucket; not negative, each row sums to one.
        buckets: `(V,)` the bucket, 0 ... C - 1, of every token that a context may end in; none
            where there is one row of weights.

    Source: Jelinek & Mercer, 1980 (interpolation, weights by bucket of the context).

    Example:
        >>> from recurra.ngram import KneserNey
        >>> from recurra.language.models.ngram import NgramModel
        >>> from recurra.language.text.vocabulary import Vocabulary
        >>> words = Vocabulary(["the", "cat", "<eos>", "<unk>"])
        >>> counted = [KneserNey.fit([0, 1, 2, 0, 1, 2], order, 4, 2) for order in (1, 3)]
        >>> parts = [NgramModel(each, words, "split") for each in counted]
        >>> both = MixtureModel(parts, [0.5, 0.5])
        >>> log_probs, state = both.step(words.eos, both.initial_state())
        >>> round(float(log_probs.exp().sum()), 6)
        1.0
    """

    kind = "mixture"

    def __init__(
        self,
        models: Sequence[LanguageModel],
        weights: ArrayLike,
        buckets: ArrayLike | None = None,
    ) -> None:
        if not models:
            raise ConfigError("a mixture has no parts: give it one model or more")
        first = models[0]
        super().__init__(first.vocabulary, first.rule, *models)
        for n, each in enumerate(models):
            if (each.vocabulary, each.rule) != (first.vocabulary, first.rule):
                raise ConfigError(
                    f"part {n} of a mixture ({each.kind}, {len(each.vocabulary):,} tokens by rule "
                    f"{each.rule}) has another vocabulary than part 0 ({first.kind}, "
                    f"{len(first.vocabulary):,} by {first.rule}); all must have the same"
                )
        self.weights = _checked(weights, len(models))
        self.buckets = _table(buckets, len(self.weights), len(first.vocabulary))
        with np.errstate(divide="ignore"):
            self._log_weights = torch.from_numpy(np.log(self.weights))

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the states of the parts."""
        return tuple(each.initial_state(batch_size) for each in self.inner)

    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        """Read a token; return the next one's log-probabilities in nats, and the state."""
        answers = [each.step(token, own) for each, own in zip(self.inner, state, strict=True)]
        parts = torch.stack([log_probs.double().cpu() for log_probs, _ in answers])
        before = np.atleast_1d(np.asarray(torch.as_tensor(token).cpu()))
        weights = self._log_weights[torch.from_numpy(self.buckets[before])].T  # (K, B)
        if isinstance(token, int):
            weights = weights[:, 0]
        log_probs = torch.logsumexp(parts + weights.unsqueeze(-1), dim=0)
        return log_probs, tuple(after for _, after in answers)

    def log_probs_of(self, ids: Integers) -> Floats:
        """Return `(N,)`: the log-probability of every token of one text, `<eos>` before it."""
        parts = np.stack([each.log_probs_of(ids) for each in self.inner])
        return self.mixed(parts, ids)

    def log_probs_of_lines(self, lines: list[Integers]) -> list[Floats]:
        """Return the log-probabilities of lines that know nothing of each other."""
        each = zip(*(part.log_probs_of_lines(lines) for part in self.inner))
        return [self.mixed(np.stack(parts), line) for parts, line in zip(each, lines)]

    def mixed(self, parts: Floats, ids: Integers) -> Floats:
        """Return `(N,)` log-probabilities of a text out of those that the parts gave it.

        Args:
            parts: `(K, N)` log-probabilities, a row for each part.
            ids: `(N,)`, the text.
        """
        return mixed(parts, self.weights, self.buckets_of(ids))

    def buckets_of(self, ids: Integers) -> Integers:
        """Return `(N,)`: into which bucket the context of each token falls.

        Args:
            ids: `(N,)`.
        """
        before = np.concatenate([[self.vocabulary.eos], np.asarray(ids)[:-1]])[: len(ids)]
        found: Integers = self.buckets[before]
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights and the buckets."""
        return {
            "weights": torch.from_numpy(self.weights),
            "buckets": torch.from_numpy(self.buckets),
        }

    @classmethod
    def check(cls, saved: Saved, inner: Sequence[Layout]) -> None:
        """Raise unless there are weights and buckets of a mixture of so many."""
        facts, tensors = saved.facts, saved.tensors
        if facts or tensors.keys() != {"weights", "buckets"}:
            raise CheckpointError(
                "a mixture is made of weights and buckets, "
                f"found {sorted([*facts, *tensors])!s:.160}"
            )
        weights, buckets = tensors["weights"], tensors["buckets"]
        sizes = (
            weights.dim() == 2
            and weights.shape[1] == len(inner)
            and (buckets.shape == (len(saved.vocabulary),))
        )
        if not sizes or (weights.dtype, buckets.dtype) != (torch.float64, torch.int64):
            raise CheckpointError("a mixture's weights are float64 (C, K), its buckets int64 (V,)")

    @classmethod
    def restore(cls, saved: Saved) -> MixtureModel:
        """Return the model that `tensors` and `inner` describe.

        Raises:
            CheckpointError: the weights or the buckets are damaged.
        """
        require_finite(saved.tensors)
        weights, buckets = saved.tensors["weights"], saved.tensors["buckets"]
        try:
            return cls(saved.inner, weights.numpy(), buckets.numpy())
        except (ConfigError, ShapeError) as error:
            raise CheckpointError(f"a mixture does not fit: {error}") from error


def mixture(
    models: Sequence[LanguageModel],
    weights: ArrayLike | None = None,
    buckets: ArrayLike | None = None,
) -> MixtureModel:
    """Return the weighted mean of language models, again a language model.

    Args:
        models: the parts, of one vocabulary and one rule.
        weights: `(K,)` or `(C, K)`, as `fit_weights` finds them; none: all parts the same.
        buckets: `(V,)`, as `by_previous` gives them, where there are C rows of weights.

    Raises:
        ConfigError: no part, parts of different vocabularies, or weights that are none.
        ShapeError: weights or buckets of another shape.

    Example:
        >>> import recurra as rc
        >>> both = rc.mixture([one, other], [0.7, 0.3])  # doctest: +SKIP
        >>> both.score(["the cat sat"])[0].log_prob  # doctest: +SKIP
        -14.2
    """
    count = len(models)
    return MixtureModel(models, np.full(count, 1 / max(count, 1)) if weights is None else weights,
                        buckets)  # fmt: skip


def by_previous(vocabulary_size: int) -> Integers:
    """Return `(V,)` buckets of contexts by how rare their last token is, for `mixture`.

    A vocabulary is counted with its most frequent tokens first, so that the bucket is the number
    of binary digits of the token's rank: 1, 2 to 3, 4 to 7, and so on.

    Args:
        vocabulary_size: V.

    Example:
        >>> by_previous(9)
        array([0, 1, 1, 2, 2, 2, 2, 3, 3])
    """
    return np.floor(np.log2(np.arange(1, vocabulary_size + 1))).astype(np.int64)


def mixed(parts: ArrayLike, weights: ArrayLike, buckets: Integers | None = None) -> Floats:
    """Return `(N,)` log-probabilities of a text, mixed of those that the parts gave it.

    Args:
        parts: `(K, N)` log-probabilities in nats; minus infinity is allowed.
        weights: `(K,)`, or `(C, K)` a row for each bucket.
        buckets: `(N,)` the bucket of each token's context; none: the first.

    Example:
        >>> np.exp(mixed(np.log([[0.5, 0.1], [0.1, 0.3]]), [0.75, 0.25])).round(3)
        array([0.4 , 0.15])
    """
    scores, rows = np.asarray(parts, np.float64), np.atleast_2d(np.asarray(weights, np.float64))
    with np.errstate(divide="ignore"):
        logs = np.log(rows).T  # (K, C)
    each = scores + (logs[:, :1] if buckets is None else logs[:, buckets])
    best = each.max(axis=0, initial=-math.inf)
    finite = np.where(np.isfinite(best), best, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = finite + np.log(np.exp(each - finite).sum(axis=0))
    return total


def fit_weights(
    parts: ArrayLike, buckets: Integers | None = None, num_buckets: int | None = None
) -> Floats:
    """Return the weights under which a mixture gives a text its highest probability.

    Expectation maximisation: a part's new weight is its mean share in the probability of a
    token. The likelihood rises with every step, has one maximum, and the climb ends where the
    best weights can be no more than 1e-6 nats a token ahead. A bucket's weights count the
    common ones as 100 tokens of its own, so that an empty one has those.

    Args:
        parts: `(K, N)` log-probabilities that each part gives the tokens of the text, which no
            part has learned from; minus infinity is allowed.
        buckets: `(N,)` the bucket, from 0, of each token's context; none: one for all.
        num_buckets: C; one more than the highest bucket by default.

    Returns `(K,)` weights, or with buckets `(C, K)`.

    Raises:
        ShapeError: they are not `(K, N)` and `(N,)`.
        DataError: there is no token that some part finds possible.

    Source: Dempster, Laird & Rubin, 1977; when to stop: Lindsay, 1983 (the gradient bound).

    Example:
        >>> coin = np.log([[0.9, 0.9, 0.9, 0.1], [0.5, 0.5, 0.5, 0.5]])
        >>> fit_weights(coin).round(3)
        array([0.625, 0.375])
    """
    scores = np.asarray(parts, np.float64)
    if scores.ndim != 2 or (buckets is not None and buckets.shape != scores.shape[1:]):
        shapes = (scores.shape, None if buckets is None else buckets.shape)
        raise ShapeError(f"log-probabilities are (K, N) and buckets (N,), got {shapes}")
    best = scores.max(axis=0, initial=-math.inf)
    possible = np.isfinite(best)
    if not possible.any():
        raise DataError("weights cannot be learned: no token that any part finds possible")
    ratios = np.exp(scores[:, possible] - best[possible])
    common = _highest(ratios)
    if buckets is None:
        return common
    count = num_buckets or int(buckets.max()) + 1
    if count == 1:
        return common[np.newaxis]
    own = (ratios[:, buckets[possible] == c] for c in range(count))
    return np.stack([_highest(each, PRIOR * common) for each in own])


def climb(ratios: Floats, prior: Floats | float = 0.0) -> Iterator[tuple[Floats, float]]:
    """Yield weights, each better than those before, and how far ahead the best can be at most.

    Args:
        ratios: `(K, N)` probabilities of the tokens, each token's in any unit of its own.
        prior: `(K,)` tokens that count as each part's from the start.

    Example:
        >>> (first, ahead), (second, _), *_ = climb(np.array([[1.0, 1.0], [0.5, 1.0]]))
        >>> first, round(ahead, 3), second.round(3)
        (array([0.5, 0.5]), 0.167, array([0.583, 0.417]))
    """
    count, tokens = ratios.shape
    total = tokens + float(np.sum(prior))
    weights = np.full(count, 1 / count)
    for _ in range(ROUNDS):
        given = np.divide(prior, weights, out=np.zeros(count), where=weights > 0)
        shares = (ratios @ (1 / (weights @ ratios)) + given) / total
        yield weights, float(shares.max() - 1)
        weights = weights * shares
        weights = weights / weights.sum()


def _highest(ratios: Floats, prior: Floats | float = 0.0) -> Floats:
    """Return the weights at which the climb is over."""
    steps = climb(ratios, prior)
    weights, ahead = next(steps)
    while ahead > CLOSE:
        weights, ahead = next(steps, (weights, 0.0))
    return weights


def _checked(weights: ArrayLike, parts: int) -> Floats:
    """Return `(C, K)` weights, refused if they are none."""
    rows = np.atleast_2d(np.array(weights, np.float64))
    if rows.ndim != 2 or rows.shape[1] != parts or not len(rows):
        raise ShapeError(f"the weights of {parts} parts are ({parts},) or (C, {parts}), "
                         f"got {np.shape(weights)}")  # fmt: skip
    sums = rows.sum(axis=1)
    if not (np.isfinite(rows).all() and (rows >= 0).all() and np.abs(sums - 1).max() < 1e-6):
        raise ConfigError(
            f"weights are at least 0 and sum to one, got {rows[np.abs(sums - 1).argmax()]!s:.80}"
        )
    checked: Floats = rows / sums[:, None]
    return checked


def _table(buckets: ArrayLike | None, count: int, vocabulary_size: int) -> NDArray[np.int64]:
    """Return `(V,)`: the bucket of every token, refused if there is no row of weights for it."""
    if buckets is None:
        if count != 1:
            raise ConfigError(f"{count} rows of weights need buckets that say which one to take")
        return np.zeros(vocabulary_size, np.int64)
    table = np.array(buckets, np.int64)
    if table.shape != (vocabulary_size,):
        raise ShapeError(f"buckets are ({vocabulary_size},), one a token, got {table.shape}")
    if table.min() < 0 or table.max() >= count:
        raise ConfigError(
            f"buckets are 0 to {count - 1}, a row of weights each, got {table.min()} to "
            f"{table.max()}"
        )
    return table
