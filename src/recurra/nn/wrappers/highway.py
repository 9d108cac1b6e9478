"""A gate between a recurrence and its input. B rows, T steps, O inputs and outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ShapeError
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Highway"]


class Highway(Wrapper):
    """The input let past the recurrence as far as a learned gate says.

        t = sigmoid(W x + b)
        y = t * f(x) + (1 - t) * x

    The gate reads the input alone, so whole sequences are gated at once.

    Shapes: `x (B, O)`, output `(B, O)`; `weight (O, O)`, `bias (O,)`; the wrapped recurrence
        has as many outputs as inputs, and its state is the state.

    Args:
        cell: what is wrapped.
        gate_bias: b at the start; below 0 a fresh layer mostly lets its input past.

    Raises:
        ShapeError: where its output size is not its input size.

    Source: Srivastava et al. 2015, "Highway networks", equation 3, and section 2.2 for the
        bias; between recurrent layers Zhang et al. 2016, "Highway long short-term memory RNNs
        for distant speech recognition" (whose gate joins the memories of the layers).

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> cell = Highway(GRUCell(4, 4))
        >>> cell(torch.zeros(1, 4), cell.initial_state())[0].shape
        torch.Size([1, 4])
    """

    def __init__(self, cell: Recurrence, gate_bias: float = -1.0) -> None:
        super().__init__([cell])
        O = cell.output_size  # noqa: E741
        if cell.input_size != O:
            raise ShapeError(
                f"Highway: its gate chooses between input and output, got {cell.input_size} "
                f"inputs and {O} outputs"
            )
        self.gate_bias = gate_bias
        self.weight = nn.Parameter(torch.empty(O, O))
        self.bias = nn.Parameter(torch.empty(O))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw W uniformly from (-1/sqrt(O), 1/sqrt(O)), and set b: those of the gate alone.

        Args:
            generator: where the numbers come from.
        """
        bound = self.output_size**-0.5
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        nn.init.constant_(self.bias, self.gate_bias)

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return inputs and outputs mixed by the gate, and the wrapped recurrence's state."""
        y, state = run(self.inner(), x, state)
        gate = torch.sigmoid(F.linear(x, self.weight, self.bias)).to(x.dtype)
        return torch.lerp(x, y.to(x.dtype), gate), state

    def extra_repr(self) -> str:
        """Return where the bias starts, for printing."""
        return f"gate_bias={self.gate_bias}"
