"""Selective copying: the letters lie anywhere among blanks, and their order is to be kept.

B rows, T steps, S letters in a row, A letters there are, D steps that hold them.
"""

from __future__ import annotations

import math
from typing import Self

import torch

from recurra.bench.tasks.base import Batch, Metrics, Task, long_enough

__all__ = ["SelectiveCopying"]


class SelectiveCopying(Task):
    """Say the S letters that were strewn over D steps, in their order.

        x:       D steps, S of them letters and the others blanks; S signs
        target:  at the signs, the S letters

    Letters are tokens 0 ... A - 1, the blank is A, the sign A + 1; T = D + S. What is to be kept
    depends on the input, which a filter of fixed time constants cannot do. Only the signs' steps
    are read out. By chance the accuracy is 1 / A, the loss log(A).

    Args:
        copied: S.
        within: D, at least S.
        letters: A.

    Source: Gu & Dao 2023, "Mamba: Linear-time sequence modeling with selective state spaces",
        section 3.1 and appendix E.1 (there S = 16, A = 16, D = 4096).

    Example:
        >>> task = SelectiveCopying(copied=2, within=5)
        >>> batch = task.make(1, torch.Generator().manual_seed(3))
        >>> batch.x, batch.target
        (tensor([[8, 2, 8, 0, 8, 9, 9]]), tensor([[2, 0]]))
    """

    right = "letters said in their place"
    stream = "selective copying"

    def __init__(self, copied: int = 5, within: int = 35, letters: int = 8) -> None:
        self.copied, self.within, self.letters = copied, within, letters
        self.title = f"selective copying: {copied} letters of {letters} strewn over {within} steps"
        self.tokens = letters + 2
        self.outputs = letters
        self.read = copied
        self.length = within + copied

    @classmethod
    def of_length(cls, length: int) -> Self:
        """Return the task of the same letters strewn over T - S steps."""
        copied = cls().copied
        return cls(within=long_enough("selective_copying", length, 2 * copied) - copied)

    def make(self, rows: int, draws: torch.Generator) -> Batch:
        """Return fresh sequences."""
        said = torch.randint(0, self.letters, (rows, self.copied), generator=draws)
        order = torch.rand(rows, self.within, generator=draws).argsort(dim=1)
        places = order[:, : self.copied].sort(dim=1).values
        x = torch.full((rows, self.length), self.letters)
        x.scatter_(1, places, said)
        x[:, self.within :] = self.letters + 1
        return Batch(x, said)

    def baselines(self) -> dict[str, Metrics]:
        """Return what chance has."""
        return {"chance": {"loss": math.log(self.letters), "accuracy": 1 / self.letters}}
