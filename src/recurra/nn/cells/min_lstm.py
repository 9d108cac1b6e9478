"""The minimal long short-term memory. B rows, I inputs, H units; gates in the order i, f, g."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.candidate import Candidate, require_candidate
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.products.linear import linear_of_steps
from recurra.nn.kernels.scans.gated import min_lstm_scan, positive

__all__ = ["MinLSTMCell", "MinLSTMState"]


class MinLSTMState(NamedTuple):
    """The state of a MinLSTMCell: `h (B, H)`."""

    h: Tensor


class MinLSTMCell(Cell):
    """The LSTM without its output gate, whose gates share one unit and read the input alone.

        i = sigmoid(W_i x + b_i)
        f = sigmoid(W_f x + b_f)
        g = W_g x + b_g                  candidate="linear"
        g = p(W_g x + b_g)               candidate="positive"
        h' = (f * h + i * g) / (f + i)

    with `p(a) = a + 1/2` where a >= 0, `sigmoid(a)` elsewhere; the output is `h'`. The state
    goes through no matrix, so whole sequences are one product and a scan.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (3H, I)`, `bias_ih (3H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        candidate: `"linear"`, or `"positive"`: above zero, as the paper has it where it scans
            logarithms.

    Raises:
        ConfigError: for another candidate.
        ShapeError: at a step, for an input or state of another shape.

    Source: Feng et al. 2024, "Were RNNs all we needed?", section 3.2, its sequential mode; p is g
        of its appendix B. The paper's h~ is g here, as in the LSTM.

    Example:
        >>> cell = MinLSTMCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = MinLSTMState
    recipes = ("weights", "biases")
    state_is_output = True

    def __init__(self, input_size: int, hidden_size: int, candidate: Candidate = "linear") -> None:
        super().__init__(input_size, hidden_size)
        require_candidate(candidate)
        self.hidden_size = hidden_size
        self.candidate = candidate
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.reset_parameters()

    def forward(self, x: Tensor, state: MinLSTMState) -> tuple[Tensor, MinLSTMState]:
        """Take one step."""
        i, f, g = MinLSTMCell.gates(self, x, state).values()
        h = f * state[0] + i * g
        return h, MinLSTMState(h)

    def gates(self, x: Tensor, state: MinLSTMState) -> dict[str, Tensor]:
        """Return the gates i and f, which add up to 1, and the candidate g, each `(B, H)`.

        h' = f * h + i * g
        """
        check_step(self, x, state)
        # Under autocast the product is narrow; what goes round and round is not.
        i, f, g = (F.linear(x, self.weight_ih).to(x.dtype) + self.bias_ih).chunk(3, dim=1)
        # f / (f + i) by its log-odds, log f - log i: the quotient fails where both underflow.
        f = torch.sigmoid(F.logsigmoid(f) - F.logsigmoid(i))
        return {"i": 1 - f, "f": f, "g": positive(g) if self.candidate == "positive" else g}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled scan."""

        def run(
            x: Tensor, state: MinLSTMState, lengths: Tensor | None
        ) -> tuple[Tensor, MinLSTMState]:
            sums = linear_of_steps(x, self.weight_ih)
            is_positive = self.candidate == "positive"
            y, h = min_lstm_scan(sums, self.bias_ih, state.h, is_positive, lengths)
            return y, MinLSTMState(h)

        return served(x) or Kernel("a compiled scan, gates and all", run)
