"""Cells of someone's own, as the tests find them by `own_cells:Name`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.wrappers.residual import Residual


class FastWeightState(NamedTuple):
    """One matrix a row: `memory (B, O, I)`."""

    memory: Tensor


class FastWeightCell(Cell):
    """A state of three dimensions: `M' = d M + (V x) x^T`, and the output is `M' tanh(Q x)`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.value = nn.Linear(input_size, hidden_size)
        self.query = nn.Linear(input_size, input_size)
        self.decay = nn.Parameter(torch.tensor(0.7))

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> FastWeightState:
        flat = self.zeros(batch_size, self.output_size * self.input_size, device, dtype)
        return FastWeightState(flat.view(batch_size, self.output_size, self.input_size))

    def forward(self, x: Tensor, state: FastWeightState) -> tuple[Tensor, FastWeightState]:
        memory = self.decay * state.memory + self.value(x).unsqueeze(2) * x.unsqueeze(1)
        y = (memory @ torch.tanh(self.query(x)).unsqueeze(2)).squeeze(2)
        return y, FastWeightState(memory)


class PeepholeCell(LSTMCell):
    """An LSTM whose gates read the cell state too: the inherited kernel would be wrong for it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.peephole = nn.Parameter(torch.linspace(-1, 1, hidden_size))

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, after = super().forward(x, state)
        return h * torch.sigmoid(self.peephole * state.c), after


class ChronoCell(LSTMCell):
    """An LSTM whose forget biases all begin at 3.71, by its constructor alone."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        nn.init.zeros_(self.bias_hh)
        nn.init.constant_(self.bias_ih.data.chunk(4)[1], 3.71)


class OwnStartCell(LSTMCell):
    """An LSTM that begins with orthogonal weights, drawn from torch's own generator."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        nn.init.constant_(self.bias_ih.data.chunk(4)[1], 3.71)
        nn.init.orthogonal_(self.weight_hh)
        self.decay = nn.Parameter(torch.full((hidden_size,), 0.9))

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, after = super().forward(x, state)
        return self.decay * h, after


def around(input_size: int, hidden_size: int, forget_bias: float = 2.0) -> Residual:
    """Make a cell in a wrapper."""
    return Residual(LSTMCell(input_size, hidden_size, forget_bias=forget_bias))


def of_three(input_size: int, hidden_size: int) -> GRUCell:
    """Make a cell of three inputs, whatever is asked for."""
    return GRUCell(3, hidden_size)


def nothing(input_size: int, hidden_size: int) -> Any:
    """Make no cell."""
