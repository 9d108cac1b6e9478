"""The likeliest sequences of ids, searched for by a beam.

B rows, V ids.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from recurra.search.rows import Rows

__all__ = ["Carried", "Hypothesis", "likeliest"]


class Carried(Protocol):
    """What a hypothesis carries beside its ids; never changed, as several may go on from it."""

    @property
    def done(self) -> bool:
        """Whether the hypothesis is at its end."""
        ...

    def after(self, token: int) -> Self:
        """Return what is carried once an id more is read."""
        ...


AnyCarried = TypeVar("AnyCarried", bound=Carried)


@dataclass(frozen=True)
class Hypothesis(Generic[AnyCarried]):
    """A sequence that a beam has found.

    Args:
        carried: what was handed in, after all the ids.
        ids: what was read after what the rows begin with.
        log_prob: the sum of what was chosen from.
    """

    carried: AnyCarried
    ids: tuple[int, ...] = ()
    log_prob: float = 0.0

    def after(self, token: int, log_prob: float) -> Hypothesis[AnyCarried]:
        """Return the hypothesis with an id more.

        Args:
            token: the id.
            log_prob: of the whole, that id included.
        """
        return Hypothesis(self.carried.after(token), (*self.ids, token), log_prob)

    def value(self, length_power: float) -> float:
        """Return what hypotheses of any length are put in order by.

        Args:
            length_power: as `likeliest` takes it.
        """
        return self.log_prob / math.pow(max(1, len(self.ids)), length_power)


def likeliest(
    rows: Rows,
    width: int,
    most: int,
    *,
    carried: AnyCarried,
    choices: Callable[[Tensor], Tensor],
    length_power: float = 1.0,
) -> list[Hypothesis[AnyCarried]]:
    """Return the hypotheses of a beam, the best first.

    Args:
        rows: the recurrence, begun in its one row; made for `width` rows.
        width: how many hypotheses go on side by side, and how many are found at most.
        most: ids of a hypothesis.
        carried: what a hypothesis carries before its first id; it says where one ends.
        choices: makes of `(B, V)` log-probabilities those to choose from, -inf for what is out.
        length_power: log-probabilities are divided by the number of ids to this power; 0 not at
            all, 1 gives the mean.

    Source: Lowerre 1976, "The Harpy speech recognition system".

    Example:
        >>> from typing import NamedTuple
        >>> class Until(NamedTuple):
        ...     end: int
        ...     done: bool = False
        ...
        ...     def after(self, token):
        ...         return Until(self.end, token == self.end)
        >>> class Follow:
        ...     def initial_state(self, batch_size=1):
        ...         return torch.zeros(batch_size, 0)
        ...
        ...     def step(self, token, state):
        ...         return torch.tensor([[0.1, 0.9], [0.6, 0.4]]).log()[token], state
        >>> rows = Rows(Follow(), [0], most=2)
        >>> found = likeliest(rows, 2, 5, carried=Until(0), choices=lambda given: given)
        >>> [each.ids for each in found]
        [(1, 0), (1, 1, 0)]
    """
    beam = [Hypothesis(carried)]
    finished: list[Hypothesis[AnyCarried]] = []

    def value(hypothesis: Hypothesis[AnyCarried]) -> float:
        return hypothesis.value(length_power)

    for left in reversed(range(most)):
        beam, places, ended = _grown(beam, choices(rows.log_probs), width)
        finished = heapq.nlargest(width, [*finished, *ended], key=value)
        if not (beam and left):
            break
        # The best that can become of a hypothesis is to grow longer at no cost.
        bound = beam[0].log_prob / most**length_power
        if len(finished) == width and bound <= value(finished[-1]):
            break
        rows.take([row for row, _ in places])
        rows.step([token for _, token in places])
    return heapq.nlargest(width, [*finished, *beam], key=value)


def _grown(
    beam: list[Hypothesis[AnyCarried]], log_probs: Tensor, width: int
) -> tuple[list[Hypothesis[AnyCarried]], list[tuple[int, int]], list[Hypothesis[AnyCarried]]]:
    """Return the best that go on, with the row and the id of each, and those that ended."""
    before = torch.tensor([each.log_prob for each in beam], dtype=torch.float64)
    values = before.unsqueeze(1) + log_probs
    best, flat = values.flatten().topk(min(2 * width, values.numel()))
    going: list[Hypothesis[AnyCarried]] = []
    ended: list[Hypothesis[AnyCarried]] = []
    places: list[tuple[int, int]] = []
    for log_prob, place in zip(best.tolist(), flat.tolist()):
        row, token = divmod(place, values.shape[1])
        if log_prob == -math.inf or len(going) == width:
            break
        longer = beam[row].after(token, log_prob)
        if longer.carried.done:
            ended.append(longer)
        else:
            going.append(longer)
            places.append((row, token))
    return going, places, ended
