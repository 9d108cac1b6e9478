"""The forward pass of a plain recurrent network, by hand: two steps, two units.

before = h W_hh + x w_xh + b        (2,)
h      = tanh(before)               (2,)
y      = h W_hy + b_y               (1,)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Step", "forward"]

INPUTS = (1.0, 2.0)
STATE_WEIGHTS = np.array([[0.1, 0.2], [0.3, 0.4]])
INPUT_WEIGHTS = np.array([0.5, 0.6])
BIAS = np.array([0.1, -0.1])
OUTPUT_WEIGHTS = np.array([[1.0], [2.0]])
OUTPUT_BIAS = 0.1


@dataclass(frozen=True)
class Step:
    """What one step computes; the names are the columns that are printed."""

    before_activation: list[float]
    state: list[float]
    output: list[float]


def forward() -> list[Step]:
    """Return both steps of the pass, from a state of zeros.

    Example:
        >>> [round(unit, 3) for unit in forward()[0].state]
        [0.537, 0.462]
    """
    h = np.zeros(2)
    steps = []
    for x in INPUTS:
        before = h @ STATE_WEIGHTS + x * INPUT_WEIGHTS + BIAS
        h = np.tanh(before)
        y = h @ OUTPUT_WEIGHTS + OUTPUT_BIAS
        steps.append(Step(before.tolist(), h.tolist(), y.tolist()))
    return steps
