"""Choosing among the n-best hypotheses of a recogniser or translator, with a language model.

    total = first pass + weight * log-probability + word penalty * words

L lists, H hypotheses in one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError
from recurra.language.use.nbest import NBest
from recurra.language.use.scoring import Scoring, score
from recurra.search.edit_distance import edit_distances

__all__ = [
    "Candidate",
    "Learned",
    "learn",
    "rescore",
    "with_log_probs",
]

MOST_WORDS = 4_000
"""Of a hypothesis or reference that weights are learnt from."""

STARTS = ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 1.0), (1.0, -1.0))
"""Weights and word penalties that the search starts from."""

ROUNDS = 100
"""Of the search from one start; it ends as soon as nothing improves."""

Array = NDArray[np.float64]


class Candidate(NamedTuple):
    """A hypothesis with what decides its place."""

    id: str
    text: str
    score: float
    log_prob: float
    words: int
    total: float


@dataclass(frozen=True)
class Learned:
    """Weights found on a development list, and the words that are wrong with them.

    Args:
        weight: of the language model's log-probability.
        word_penalty: for each word; positive favours longer hypotheses.
        errors: substitutions, insertions and deletions of the hypotheses chosen.
        errors_before: of those that the first pass puts first.
        errors_least: of the best hypotheses there are, whatever the weights.
        words: of all references.
    """

    weight: float
    word_penalty: float
    errors: int
    errors_before: int
    errors_least: int
    words: int

    def rate(self, errors: int) -> float:
        """Return the word error rate that so many errors are; NaN without words.

        Args:
            errors: any number.
        """
        return errors / self.words if self.words else math.nan


def with_log_probs(
    model: Scoring, lists: Iterable[NBest], *, given: str = "", open_vocabulary: bool = False
) -> Iterator[NBest]:
    """Yield n-best lists with the log-probabilities of their hypotheses, each a line by itself.

    Args:
        model: any language model.
        lists: as `read_nbest` yields them.
        given: as `score` takes it.
        open_vocabulary: as `score` takes it; without it, all unknown words cost the same.
    """
    lists, ahead = tee(lists)  # hypotheses of many lists are scored side by side
    texts = (" ".join(found.text.split("\n")) for each in ahead for found in each.hypotheses)
    scores = score(model, texts, given=given, open_vocabulary=open_vocabulary)
    for each in lists:
        log_probs = [next(scores).log_prob for _ in each.hypotheses]
        yield NBest(each.id, each.hypotheses, each.reference, log_probs)


def rescore(nbest: NBest, weight: float = 0.5, word_penalty: float = 0.0) -> list[Candidate]:
    """Return a list's hypotheses by their totals, the best first; equal ones stay in order.

    Args:
        nbest: with log-probabilities.
        weight: of the language model.
        word_penalty: for each word; positive favours longer hypotheses.

    Raises:
        ConfigError: a number is not finite, or the list has no log-probabilities yet.

    Example:
        >>> from recurra.language.use.nbest import Hypothesis
        >>> hypotheses = [Hypothesis("the cat", -3.5), Hypothesis("the hat", -3.25)]
        >>> found = rescore(NBest("7", hypotheses, log_probs=[-4.0, -6.0]), weight=0.5)
        >>> [(each.text, each.total) for each in found]
        [('the cat', -5.5), ('the hat', -6.25)]
    """
    for name, number in (("weight", weight), ("word_penalty", word_penalty)):
        if not math.isfinite(number):
            raise ConfigError(f"{name} is a finite number, got {number}")
    _require_log_probs(nbest)
    found = [
        Candidate(
            nbest.id,
            *hypothesis,
            log_prob,
            hypothesis.words,
            hypothesis.score + weight * log_prob + word_penalty * hypothesis.words,
        )
        for hypothesis, log_prob in zip(nbest.hypotheses, nbest.log_probs)
    ]
    return sorted(found, key=lambda candidate: -candidate.total)


def _require_log_probs(nbest: NBest) -> None:
    if len(nbest.log_probs) != len(nbest.hypotheses):
        raise ConfigError(f"{nbest.id}: no log-probabilities; with_log_probs gives them")


@dataclass(frozen=True)
class _Development:
    """A list's three terms of the total, `(H,)` each, and what choosing a hypothesis costs."""

    scores: Array
    log_probs: Array
    words: Array
    errors: NDArray[np.int64]


def learn(lists: Iterable[NBest]) -> Learned:
    """Return the weight and the word penalty that leave the fewest wrong words.

    The errors are a step function of each weight, so a line search finds their least exactly; it
    is done in turn along both axes and both diagonals, from several starts, until nothing
    improves. Of equally good places the middle of the widest is taken. The weight is not negative.

    Args:
        lists: with references and log-probabilities.

    Raises:
        DataError: a list has no reference, or there is no list.
        ConfigError: a list has no log-probabilities yet.

    Source: Och 2003, "Minimum error rate training in statistical machine translation", section 5.

    Differs: two weights only, so fixed directions serve; the source also smooths the errors.
    """
    development, words = [], 0
    for nbest in lists:
        _require_log_probs(nbest)
        if nbest.reference is None:
            raise DataError(f"list {nbest.id} has no reference, from which weights are learnt")
        texts = [hypothesis.text.split() for hypothesis in nbest.hypotheses]
        reference = nbest.reference.split()
        if (longest := max(map(len, [reference, *texts]))) > MOST_WORDS:
            raise DataError(
                f"list {nbest.id:.80} has a text of {longest:,} words, expected {MOST_WORDS:,} at "
                "most to learn from; divide it"
            )
        development.append(
            _Development(
                np.array([hypothesis.score for hypothesis in nbest.hypotheses]),
                np.array(nbest.log_probs, dtype=np.float64),
                np.array([hypothesis.words for hypothesis in nbest.hypotheses], np.float64),
                edit_distances(texts, reference),
            )
        )
        words += len(reference)
    if not development:
        raise DataError("weights cannot be learnt from no lists")
    found = [_descended(development, *start) for start in STARTS]
    errors, weight, penalty = min(found, key=lambda each: each[0])
    before = _errors(development, 0.0, 0.0)
    least = sum(int(each.errors.min()) for each in development)
    if errors >= before:
        errors, weight, penalty = before, 0.0, 0.0
    return Learned(weight, penalty, errors, before, least, words)


def _errors(development: Sequence[_Development], weight: float, penalty: float) -> int:
    total = 0
    for each in development:
        best = np.argmax(each.scores + weight * each.log_probs + penalty * each.words)
        total += int(each.errors[best])
    return total


def _descended(
    development: Sequence[_Development], weight: float, penalty: float
) -> tuple[int, float, float]:
    """Return the fewest errors that lines from a start lead to, and where they are."""
    # A word is worth about as much as its log-probability.
    nats = -sum(float(each.log_probs.sum()) for each in development)
    scale = nats / max(1.0, sum(float(each.words.sum()) for each in development)) or 1.0
    errors = _errors(development, weight, penalty)
    for _ in range(ROUNDS):
        before = errors
        for along, across in ((1.0, 0.0), (0.0, scale), (1.0, scale), (1.0, -scale)):
            found, place = _searched(development, (weight, penalty), (along, across))
            if found < errors:
                weight, penalty = weight + place * along, penalty + place * across
                errors = found
        if errors == before:
            break
    return errors, weight, penalty


def _searched(
    development: Sequence[_Development],
    origin: tuple[float, float],
    direction: tuple[float, float],
) -> tuple[int, float]:
    """Return the fewest errors along a line from a point, and how far along it they are."""
    least = -origin[0] / direction[0] if direction[0] else -math.inf
    places: list[float] = []
    changes: list[int] = []
    errors = 0
    for each in development:
        starts = each.scores + origin[0] * each.log_probs + origin[1] * each.words
        slopes = direction[0] * each.log_probs + direction[1] * each.words
        best = _first_best(starts, slopes, least)
        errors += int(each.errors[best])
        for place, following in _envelope(starts, slopes, best):
            places.append(place)
            changes.append(int(each.errors[following] - each.errors[best]))
            best = following
    if not places:
        return errors, 0.0
    order = np.argsort(places, kind="stable")
    between = np.array(places)[order]
    ends = np.concatenate([[max(least, between[0] - 1)], between, [between[-1] + 1]])
    counts = errors + np.concatenate([[0], np.cumsum(np.array(changes)[order])])
    widths = np.diff(ends)
    fewest = counts[widths > 0].min()
    chosen = int(np.argmax(np.where(counts == fewest, widths, -1)))
    place = float(ends[chosen] + ends[chosen + 1]) / 2
    weight, penalty = (start + place * step for start, step in zip(origin, direction))
    return _errors(development, weight, penalty), place  # as rounding has it


def _first_best(starts: Array, slopes: Array, place: float) -> int:
    """Return the highest line just after a place, of equal ones the first."""
    if math.isinf(place):
        return int(np.lexsort((-starts, slopes))[0])
    return int(np.lexsort((-slopes, -(starts + place * slopes)))[0])


def _envelope(starts: Array, slopes: Array, best: int) -> Iterator[tuple[float, int]]:
    """Yield where another line becomes the highest, and which, from the first highest on."""
    while True:
        steeper = np.flatnonzero(slopes > slopes[best])
        if not len(steeper):
            return
        places = (starts[best] - starts[steeper]) / (slopes[steeper] - slopes[best])
        chosen = np.lexsort((-starts[steeper], -slopes[steeper], places))[0]
        best = int(steeper[chosen])
        yield float(places[chosen]), best
