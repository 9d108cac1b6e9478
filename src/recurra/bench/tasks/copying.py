"""The copying memory: letters, a long silence, a sign, and the letters again.

B rows, T steps, S letters in a row, A letters there are, D steps of silence.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from recurra.bench.tasks.base import Batch, Metrics, Task, long_enough

__all__ = ["Copying"]


class Copying(Task):
    """Repeat S letters of A, D steps after they were read.

        x:       S letters, D - 1 blanks, the sign, S blanks
        target:  D + S blanks, the S letters

    Letters are tokens 0 ... A - 1, the blank is A, the sign A + 1; T = D + 2S. The loss is over all
    steps, the accuracy over the letters. Who remembers nothing says blanks, then letters by
    chance: a loss of S log(A) / T, an accuracy of 1 / A.

    Args:
        copied: S.
        delay: D, at least 1.
        letters: A.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", section 5; in this form
        Arjovsky, Shah & Bengio 2016, "Unitary evolution recurrent neural networks", section 4.1
        (there S = 10, A = 8, D up to 500).

    Example:
        >>> task = Copying(copied=2, delay=3)
        >>> batch = task.make(1, torch.Generator().manual_seed(1))
        >>> batch.x, batch.target
        (tensor([[5, 3, 8, 8, 9, 8, 8]]), tensor([[8, 8, 8, 8, 8, 5, 3]]))
    """

    right = "letters said in their place"
    stream = "copying"

    def __init__(self, copied: int = 5, delay: int = 30, letters: int = 8) -> None:
        self.copied, self.delay, self.letters = copied, delay, letters
        self.title = f"copying memory: {copied} letters of {letters}, {delay} steps later"
        self.tokens = letters + 2
        self.outputs = letters + 1
        self.length = delay + 2 * copied

    @classmethod
    def of_length(cls, length: int) -> Self:
        """Return the task of the same letters with a silence of T - 2S steps."""
        ends = 2 * cls().copied
        return cls(delay=long_enough("copying", length, ends + 1) - ends)

    def make(self, rows: int, draws: torch.Generator) -> Batch:
        """Return fresh sequences."""
        S, blank = self.copied, self.letters
        said = torch.randint(0, self.letters, (rows, S), generator=draws)
        x = torch.full((rows, self.length), blank)
        x[:, :S] = said
        x[:, S + self.delay - 1] = blank + 1
        target = torch.full_like(x, blank)
        target[:, -S:] = said
        return Batch(x, target)

    def metrics(self, outputs: Tensor, target: Tensor) -> Metrics:
        """Return the loss over all steps, and the accuracy over the letters."""
        S = self.copied
        letters = super().metrics(outputs[:, -S:], target[:, -S:])
        return letters | {"loss": float(self.loss(outputs, target))}

    def baselines(self) -> dict[str, Metrics]:
        """Return what the memoryless strategy has."""
        loss = self.copied * math.log(self.letters) / self.length
        return {"memoryless": {"loss": loss, "accuracy": 1 / self.letters}}
