"""Input and hidden state that gate each other before a step.

B rows, T steps, I inputs, H units of the hidden state, K the rank of a matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.base import Kernel, require_state
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.mogrifier import mogrifier_sequence
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper
from recurra.nn.wrappers.inside import steps_as
from recurra.nn.wrappers.masks import Masks

__all__ = ["Mogrifier"]


class Mogrifier(Wrapper):
    """Rounds in which the input is scaled by what the hidden state says, and then the reverse.

        x_i = 2 sigmoid(Q_i h_{i-1}) * x_{i-2}      for odd i = 1, 3, ... <= r
        h_i = 2 sigmoid(R_i x_{i-1}) * h_{i-2}      for even i = 2, 4, ... <= r

    with x_{-1} = x and h_0 = h, before the step of what is wrapped, which gets the last of
    each. A state's other tensors, an LSTM's `c` say, are left alone.

    Shapes: `x (B, I)`, output and state those of the wrapped recurrence; `matrices`: for each
        round Q `(I, H)` or R `(H, I)`, or where a rank is given its two factors, `(I, K)` and
        `(K, H)`, or `(H, K)` and `(K, I)`.

    Args:
        cell: what is wrapped: its state has an `h (B, H)`.
        rounds: r, at least 0; with none it is the wrapped recurrence.
        rank: K, of Q and R; full by default.

    Raises:
        ConfigError: for rounds below 0, or a rank below 1.
        ShapeError: where the state of what is wrapped has no `h (B, H)`.

    Source: Melis et al. 2020, "Mogrifier LSTM", equations 1 and 2.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> cell = Mogrifier(LSTMCell(3, 5), rounds=2)
        >>> cell(torch.ones(2, 3), cell.initial_state(2))[0].shape
        torch.Size([2, 5])
        >>> [tuple(matrix.shape) for matrix in cell.matrices]
        [(3, 5), (5, 3)]
    """

    def __init__(self, cell: Recurrence, rounds: int = 5, rank: int | None = None) -> None:
        if not isinstance(rounds, int) or rounds < 0:
            raise ConfigError(f"Mogrifier: rounds are at least 0, got {rounds!r}")
        if rank is not None and (not isinstance(rank, int) or rank < 1):
            raise ConfigError(f"Mogrifier: a rank is at least 1, got {rank!r}")
        super().__init__([cell])
        h = getattr(cell.initial_state(), "h", None)
        if not isinstance(h, Tensor) or h.dim() != 2:
            raise ShapeError(
                f"Mogrifier: gates the h (B, H) of a state, and that of {type(cell).__name__} "
                "has none; wrap each layer by itself"
            )
        self.rounds = rounds
        self.rank = rank
        self.hidden_size = h.shape[1]
        sizes = (cell.input_size, self.hidden_size)
        self.matrices = nn.ParameterList()
        for i in range(rounds):
            rows, columns = sizes if i % 2 == 0 else sizes[::-1]
            inner = (rank,) if rank else ()
            for shape in zip((rows, *inner), (*inner, columns)):
                self.matrices.append(nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every Q and R, or its factors, uniformly from (-1/sqrt(n), 1/sqrt(n)), n columns.

        Args:
            generator: where the numbers come from.
        """
        for matrix in self.matrices:
            bound = matrix.shape[1] ** -0.5
            nn.init.uniform_(matrix, -bound, bound, generator=generator)

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs and state, its input and `h` scaled before.

        Args:
            x: `(B, I)`; over sequences `(B, T, I)`, where there are no rounds.
            state: the wrapped recurrence's.
            run: how to reach it.
        """
        if not self.rounds:
            return run(self.inner(), x, state)
        h = getattr(state, "h", None)
        if h is None or h.shape != (x.shape[0], self.hidden_size) or h.dtype is not x.dtype:
            # To gate would hide from the cell that they do not fit.
            initial = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
            state = require_state(self, x, state, initial)
            h = state.h
        for i in range(self.rounds):
            if i % 2 == 0:
                x = 2 * torch.sigmoid(self._product(i, h)) * x
            else:
                h = 2 * torch.sigmoid(self._product(i, x)) * h
        return run(self.inner(), x, state._replace(h=h))

    def stepwise(self) -> str | None:
        """Return that input and hidden state gate each other before every step."""
        return "input and hidden state gate each other before each step" if self.rounds else None

    def fused(self, x: Tensor, masks: Masks | None, start: int = 0) -> Kernel | None:
        """Return the compiled Mogrifier, which is that of an LSTM."""
        cell = self.inner()
        if served(x) or not steps_as(cell, LSTMCell):
            return None

        def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            assert isinstance(cell, LSTMCell)
            weights = cell.weight_ih, cell.weight_hh, cell.bias_ih + cell.bias_hh
            matrices = list(self.matrices)
            y, end = mogrifier_sequence(x, tuple(state), weights, matrices, self.rounds, lengths)
            return y, type(state)(*end)

        return Kernel("the compiled Mogrifier LSTM", run)

    def _product(self, i: int, vector: Tensor) -> Tensor:
        if self.rank is None:
            return F.linear(vector, self.matrices[i])
        left, right = self.matrices[2 * i : 2 * i + 2]
        return F.linear(F.linear(vector, right), left)

    def extra_repr(self) -> str:
        """Return rounds and rank, for printing."""
        return f"rounds={self.rounds}, rank={self.rank}"
