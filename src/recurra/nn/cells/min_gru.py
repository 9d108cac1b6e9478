"""The minimal gated recurrent unit. B rows, I inputs, H units; gate and candidate z, n."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.candidate import Candidate, require_candidate
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.products.linear import linear_of_steps
from recurra.nn.kernels.scans.gated import min_gru_scan, positive

__all__ = ["MinGRUCell", "MinGRUState"]


class MinGRUState(NamedTuple):
    """The state of a MinGRUCell: `h (B, H)`."""

    h: Tensor


class MinGRUCell(Cell):
    """The GRU without its reset gate, whose gate and candidate read the input alone.

        z = sigmoid(W_z x + b_z)
        n = W_n x + b_n                  candidate="linear"
        n = g(W_n x + b_n)               candidate="positive"
        h' = (1 - z) * h + z * n

    with `g(a) = a + 1/2` where a >= 0, `sigmoid(a)` elsewhere; the output is `h'`. The state
    goes through no matrix, so whole sequences are one product and a scan.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (2H, I)`, `bias_ih (2H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        candidate: `"linear"`, or `"positive"`: above zero, as the paper has it where it scans
            logarithms.

    Raises:
        ConfigError: for another candidate.
        ShapeError: at a step, for an input or state of another shape.

    Source: Feng et al. 2024, "Were RNNs all we needed?", section 3.1, its sequential mode; g of
        its appendix B. The paper's h~ is n here, as in the GRU.

    Example:
        >>> cell = MinGRUCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = MinGRUState
    recipes = ("weights", "biases")
    state_is_output = True

    def __init__(self, input_size: int, hidden_size: int, candidate: Candidate = "linear") -> None:
        super().__init__(input_size, hidden_size)
        require_candidate(candidate)
        self.hidden_size = hidden_size
        self.candidate = candidate
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias_ih = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def forward(self, x: Tensor, state: MinGRUState) -> tuple[Tensor, MinGRUState]:
        """Take one step."""
        z, n = MinGRUCell.gates(self, x, state).values()
        h = (1 - z) * state[0] + z * n
        return h, MinGRUState(h)

    def gates(self, x: Tensor, state: MinGRUState) -> dict[str, Tensor]:
        """Return the gate z in (0, 1) and the candidate n, each `(B, H)`.

        h' = (1 - z) * h + z * n
        """
        check_step(self, x, state)
        # Under autocast the product is narrow; what goes round and round is not.
        z, n = (F.linear(x, self.weight_ih).to(x.dtype) + self.bias_ih).chunk(2, dim=1)
        return {"z": torch.sigmoid(z), "n": positive(n) if self.candidate == "positive" else n}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled scan."""

        def run(
            x: Tensor, state: MinGRUState, lengths: Tensor | None
        ) -> tuple[Tensor, MinGRUState]:
            sums = linear_of_steps(x, self.weight_ih)
            is_positive = self.candidate == "positive"
            y, h = min_gru_scan(sums, self.bias_ih, state.h, is_positive, lengths)
            return y, MinGRUState(h)

        return served(x) or Kernel("a compiled scan, gates and all", run)
