"""Resets told by an input. B rows, T steps, I inputs of what is wrapped, O outputs."""

from __future__ import annotations

from torch import Tensor

from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Reset"]


class Reset(Wrapper):
    """A last input feature that says where the state becomes the initial one.

        y, s' = f(x, s_0) where the feature is above 0.5, else f(x, s)

    It does what `reset` of `unroll` does, and joins it, so whole sequences stay whole; it also
    does so in single steps, and anywhere in a nest.

    Shapes: `x (B, I + 1)`, output `(B, O)`; state: the wrapped recurrence's.

    Args:
        cell: what is wrapped.

    Source: Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", whose
        recurrent agents start anew at the ends of episodes; dm-haiku's `ResetCore`.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.gru import GRUCell
        >>> from recurra.nn.unroll import unroll
        >>> cell, x = Reset(GRUCell(2, 4)), torch.zeros(1, 6, 3)
        >>> x[0, 3, -1] = 1
        >>> y, _ = unroll(cell, x)
        >>> torch.allclose(y[:, :3], y[:, 3:])
        True
    """

    input_note = ", the last feature the flag that resets"
    """What is said of its inputs beside how many they are."""

    def __init__(self, cell: Recurrence) -> None:
        super().__init__([cell])
        self.input_size += 1

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs and state, reset on the way."""
        return run.resetting(self.inner(), x[..., :-1], state, x[..., -1] > 0.5)
