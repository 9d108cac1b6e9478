"""The loop over the recurrent part of a step, behind one product of all inputs.

B rows, T steps, K sums, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recurra.nn.cells.base import Kernel
from recurra.nn.state import State, where

__all__ = ["loop_kernel", "steps_over"]


def loop_kernel(
    reason: str,
    run: Callable[[Tensor, State, Tensor | None], tuple[Tensor, State]],
    name: str = "a loop behind one product of all inputs",
) -> Kernel | str:
    """Return the kernel that loops in Python, or that torch's compiler would unroll it.

    Args:
        reason: why no compiled kernel serves.
        run: the loop, as a kernel's `run` is.
        name: what it is, in words.

    Example:
        >>> loop_kernel("numba is not here", lambda x, state, lengths: (x, state)).name
        'a loop behind one product of all inputs, as numba is not here'
    """
    if torch.compiler.is_compiling():
        return f"{reason}, and torch.compile would unroll {name}"
    return Kernel(f"{name}, as {reason}", run, looped=True)


def steps_over(
    step: Callable[[Tensor, State], tuple[Tensor, State]],
    sums: Tensor,
    state: State,
    lengths: Tensor | None,
) -> tuple[Tensor, State]:
    """Run the recurrent part of a step over what all the inputs came to in one product.

    That is faster than products step by step, and more so backwards, where the gradients of
    the input's weights are one product too.

    Shapes: `sums (B, T, K)`, `lengths (B,)`; returns `(B, T, O)` and the state at each row's
    length.

    Args:
        step: `(sums (B, K), state) -> (y (B, O), state)`.
        sums: of all steps, at least one.
        state: before the first.
        lengths: steps of each row, at most T; all of them.

    Example:
        >>> step = lambda sums, h: (h + sums, h + sums)
        >>> steps_over(step, torch.ones(1, 3, 1), torch.zeros(1, 1), None)[0].flatten()
        tensor([1., 2., 3.])
    """
    outputs = []
    for t, part in enumerate(sums.unbind(1)):
        y, after = step(part, state)
        state = after if lengths is None else where(lengths > t, after, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state
