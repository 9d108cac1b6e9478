"""Sequences of ids read side by side, and what comes next in each.

B rows, V ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Predictor", "Rows", "Select"]

State = Any
"""Nested tuples of tensors `(B, ...)`."""
Select = Callable[[State, Sequence[int]], State]
"""Gives some rows of a state, as `recurra.nn.state.index` does."""


class Predictor(Protocol):
    """A recurrence over ids; `most_rows`, where it has one, bounds the rows of a step."""

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the state before any id."""
        ...

    def step(self, token: int | Tensor, state: State) -> tuple[Tensor, State]:
        """Read an id or `(B,)` ids; return the next one's log-probabilities, and the state."""
        ...


class Rows:
    """Sequences read side by side, or one by one where it must be, and what comes next in each.

    `log_probs (B, V)` is in float64, on the CPU.

    Args:
        model: any recurrence over ids.
        begun: ids that all of them begin with, one or more; read in the one row there is at first.
        most: the number of rows that there will ever be.
        select: gives some rows of the model's state.

    Example:
        >>> from types import SimpleNamespace
        >>> start = lambda batch_size=1: torch.zeros(batch_size, 0)
        >>> step = lambda token, state: (torch.full((len(state), 2), 0.5).log(), state)
        >>> model = SimpleNamespace(initial_state=start, step=step)
        >>> rows = Rows(model, [0], 3, select=lambda state, rows: state[rows])
        >>> rows.take([0, 0, 0])
        >>> rows.step([0, 1, 1])
        >>> rows.log_probs.shape
        torch.Size([3, 2])
    """

    def __init__(self, model: Predictor, begun: Sequence[int], most: int, select: Select) -> None:
        limit = getattr(model, "most_rows", None)
        self.alone = most == 1 or (limit is not None and most > limit)
        self.model, self.select = model, select
        state = model.initial_state()
        for token in begun:
            log_probs, state = model.step(token, state)
        self.log_probs = log_probs.double().cpu().unsqueeze(0)
        self.state = [state] if self.alone else state

    def take(self, rows: Sequence[int]) -> None:
        """Go on with some rows.

        Args:
            rows: their numbers, each as often as it is wanted.
        """
        self.log_probs = self.log_probs[rows]
        self.state = [self.state[n] for n in rows] if self.alone else self.select(self.state, rows)

    def step(self, ids: Sequence[int]) -> None:
        """Read an id in each row.

        Args:
            ids: one for each.
        """
        if self.alone:
            stepped = [self.model.step(token, state) for token, state in zip(ids, self.state)]
            log_probs = torch.stack([each for each, _ in stepped])
            self.state = [state for _, state in stepped]
        else:
            log_probs, self.state = self.model.step(torch.tensor(ids), self.state)
        self.log_probs = log_probs.double().cpu()
