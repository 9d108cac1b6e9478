"""The likeliest sequences of ids, searched for by a beam.

B rows, V ids. Source: Lowerre 1976, "The Harpy speech recognition system".
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from recurra.search.rows import Rows

__all__ = ["Hypothesis", "likeliest"]

Carried = TypeVar("Carried")


@dataclass(frozen=True)
class Hypothesis(Generic[Carried]):
    """A sequence that a beam has found.

    Args:
        carried: what it carries beside its ids, as `follow` returned it after the last of them.
        ids: what was read after what the rows begin with.
        log_prob: the sum of what was chosen from.
    """

    carried: Carried
    ids: tuple[int, ...] = ()
    log_prob: float = 0.0


def likeliest(
    rows: Rows,
    width: int,
    most: int,
    *,
    carried: Carried,
    follow: Callable[[Carried, int], Carried],
    done: Callable[[Carried], bool],
    choices: Callable[[Tensor], Tensor],
    length_power: float = 1.0,
) -> list[Hypothesis[Carried]]:
    """Return the hypotheses of a beam, the best first.

    Args:
        rows: the recurrence, begun in its one row; made for `width` rows.
        width: how many hypotheses go on side by side, and how many are found at most.
        most: ids of a hypothesis.
        carried: what a hypothesis carries before its first id.
        follow: makes of what is carried, which it leaves as it is, and an id what is carried then.
        done: says of what is carried whether the hypothesis ends there.
        choices: makes of `(B, V)` log-probabilities those to choose from, -inf for what is out.
        length_power: of the number of ids, which log-probabilities are divided by; 1: the mean.

    Example:
        >>> from types import SimpleNamespace
        >>> table = torch.tensor([[0.1, 0.9], [0.6, 0.4]]).log()
        >>> start = lambda batch_size=1: torch.zeros(batch_size, 0)
        >>> model = SimpleNamespace(initial_state=start, step=lambda token, h: (table[token], h))
        >>> rows = Rows(model, [0], 2, select=lambda state, rows: state[rows])
        >>> found = likeliest(rows, 2, 5, carried=None, follow=lambda before, token: token,
        ...                   done=lambda last: last == 0, choices=lambda log_probs: log_probs)
        >>> [each.ids for each in found]
        [(1, 0), (1, 1, 0)]
    """
    beam = [Hypothesis(carried)]
    finished: list[Hypothesis[Carried]] = []

    def value(hypothesis: Hypothesis[Carried]) -> float:
        return hypothesis.log_prob / math.pow(max(1, len(hypothesis.ids)), length_power)

    for left in reversed(range(most)):
        old, beam, taken = beam, [], []
        for row, longer in _longer(old, choices(rows.log_probs), follow, 2 * width):
            if len(beam) == width:
                break
            if done(longer.carried):
                finished.append(longer)
            else:
                beam.append(longer)
                taken.append(row)
        finished = heapq.nlargest(width, finished, key=value)
        if not (beam and left):
            break
        # The best that can become of a hypothesis is to grow longer at no cost.
        bound = beam[0].log_prob / most**length_power
        if len(finished) == width and bound <= value(finished[-1]):
            break
        rows.take(taken)
        rows.step([each.ids[-1] for each in beam])
    return heapq.nlargest(width, [*finished, *beam], key=value)


def _longer(
    beam: Sequence[Hypothesis[Carried]],
    log_probs: Tensor,
    follow: Callable[[Carried, int], Carried],
    most: int,
) -> Iterator[tuple[int, Hypothesis[Carried]]]:
    """Yield the row and the hypothesis of every way on that is possible, the best first."""
    before = torch.tensor([each.log_prob for each in beam], dtype=torch.float64)
    values = before.unsqueeze(1) + log_probs
    best, places = values.flatten().topk(min(most, values.numel()))
    for log_prob, place in zip(best.tolist(), places.tolist()):
        if log_prob == -math.inf:
            return
        row, token = divmod(place, values.shape[1])
        ids = (*beam[row].ids, token)
        yield row, Hypothesis(follow(beam[row].carried, token), ids, log_prob)
