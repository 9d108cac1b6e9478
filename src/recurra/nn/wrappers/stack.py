"""Deep recurrences. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Stack"]


class Stack(Wrapper):
    """Layers, each reading the outputs of the one below: `y = f_n(... f_2(f_1(x)))`.

    Layers may be of any width and kind; they never share parameters (the tutorials'
    `[cell] * n` does).

    Shapes: `x (B, I)` of the first layer; output `(B, O)` of the last; state: a tuple of the
        layers' states.

    Args:
        cells: the layers, the lowest first, at least one.

    Raises:
        ConfigError: for no layers, or a layer that stands twice.
        ShapeError: where a layer's input size is not the output size below.

    Source: Graves 2013, "Generating sequences with recurrent neural networks", section 2.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> deep = Stack([LSTMCell(3, 8), LSTMCell(8, 5)])
        >>> y, state = deep(torch.zeros(2, 3), deep.initial_state(2))
        >>> y.shape, len(state)
        (torch.Size([2, 5]), 2)
    """

    def __init__(self, cells: Sequence[Recurrence]) -> None:
        super().__init__(cells)
        for below, above in pairwise(map(self.inner, range(len(self.cells)))):
            if below.output_size != above.input_size:
                raise ShapeError(
                    f"Stack: a layer with {below.output_size} outputs stands below one with "
                    f"{above.input_size} inputs"
                )

    def owners(self) -> Sequence[int]:
        """Return that the state is a tuple of the layers' states."""
        return range(len(self.cells))

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the last layer's outputs, and every layer's state."""
        states = []
        for layer, before in zip(self.cells, state, strict=True):
            x, after = run(cast("Recurrence", layer), x, before)
            states.append(after)
        return x, tuple(states)
