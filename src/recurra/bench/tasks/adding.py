"""The adding problem: which two numbers of many are to be added is marked. B rows, T steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.bench.tasks.base import Batch, Metrics, Task, long_enough

__all__ = ["NEAR", "Adding"]

NEAR = 0.04
"""How far off a sum may be to be right, as in the paper of 1997."""


class Adding(Task):
    """Add the two of T numbers that are marked, one in each half.

    The inputs are a number, uniform in [0, 1), and a mark, 1 at two steps and 0 elsewhere; the sum
    is said at the last step. The loss is the squared error; right is a sum less than 0.04 off.
    Who always says 1, the mean, has the variance of a sum of two: 2 / 12.

    Args:
        length: T, at least 2.

    Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", section 5.4; in this form
        Arjovsky, Shah & Bengio 2016, section 4.2.

    Differs: from Le, Jaitly & Hinton 2015, who print 0.1767 for that variance, 0.1667.

    Example:
        >>> batch = Adding(4).make(1, torch.Generator().manual_seed(1))
        >>> numbers, marks = batch.x[0].T
        >>> marks
        tensor([0., 1., 0., 1.])
        >>> bool(batch.target == numbers[1] + numbers[3])
        True
    """

    right = f"sums less than {NEAR} off"
    features = 2
    outputs = 1
    read = 1
    stream = "adding"
    judged_rows = 1024

    def __init__(self, length: int = 50) -> None:
        self.length = long_enough("adding", length, 2)
        self.title = f"adding problem: the two marked of {length} numbers"

    def make(self, rows: int, draws: torch.Generator) -> Batch:
        """Return fresh sequences."""
        half = self.length // 2
        numbers = torch.rand(rows, self.length, generator=draws)
        first = torch.randint(0, half, (rows, 1), generator=draws)
        second = torch.randint(half, self.length, (rows, 1), generator=draws)
        marks = torch.zeros_like(numbers).scatter_(1, torch.cat([first, second], dim=1), 1.0)
        target = (numbers * marks).sum(dim=1)
        return Batch(torch.stack([numbers, marks], dim=2), target)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error.

        Args:
            outputs: `(B, 1, 1)`.
            target: `(B,)`.
        """
        return F.mse_loss(outputs[:, 0, 0], target)

    def metrics(self, outputs: Tensor, target: Tensor) -> Metrics:
        """Return the mean squared error, and the share of sums less than 0.04 off."""
        near = (outputs[:, 0, 0] - target).abs() < NEAR
        mse = float(self.loss(outputs, target))
        return {"loss": mse, "mse": mse, "accuracy": float(near.double().mean())}

    def baselines(self) -> dict[str, Metrics]:
        """Return what saying 1 has: P(|u + v - 1| < e) = 2e - e^2."""
        mse = 2 / 12
        return {"always 1": {"loss": mse, "mse": mse, "accuracy": 2 * NEAR - NEAR**2}}
