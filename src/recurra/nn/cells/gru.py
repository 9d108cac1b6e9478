"""The gated recurrent unit. B rows, I inputs, H units; gates in the order r, z, n."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.activation import Activated, Activation, activate
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.gru import gru_sequence
from recurra.nn.kernels.vendor import gru_sequence as vendor_sequence
from recurra.nn.kernels.vendor import why_not_compiled

__all__ = ["GRUCell", "GRUState"]


class GRUState(NamedTuple):
    """The state of a GRUCell: `h (B, H)`."""

    h: Tensor


class GRUCell(Activated, Cell):
    """The gated recurrent unit.

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))      reset_after=True
        n = tanh(W_in x + b_in + W_hn (r * h) + b_hn)      reset_after=False
        h' = (1 - z) * n + z * h

    and the output is `h'`.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (3H, I)`,
        `weight_hh (3H, H)`, `bias_ih (3H,)`, `bias_hh (3H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        reset_after: whether the reset gate acts after the product with `weight_hh`, as in
            torch and cuDNN (and fast), or before it, as in the paper.
        activation: of the candidate, in the place of tanh: a name in ACTIVATIONS or a function
            of a tensor; kernels know tanh alone.
        recurrent_activation: of the gates, likewise, in the place of sigmoid.

    Raises:
        ConfigError: for an unknown activation, or one with parameters of its own.
        ShapeError: at a step, for an input or state of another shape.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder",
        equations 5-8 (there z and 1 - z change places).

    Example:
        >>> cell = GRUCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = GRUState
    recipes = ("weights", "biases")
    state_is_output = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset_after: bool = True,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.reset_after = reset_after
        self.keep_activations(activation, recurrent_activation)
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        self.reset_parameters()

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        """Take one step."""
        _, z, n = GRUCell.gates(self, x, state).values()
        h = (1 - z) * n + z * state[0]
        return h, GRUState(h)

    def gates(self, x: Tensor, state: GRUState) -> dict[str, Tensor]:
        """Return the gates r, z in (0, 1) and the candidate n in (-1, 1), each `(B, H)`.

        h' = (1 - z) * n + z * h
        """
        check_step(self, x, state)
        (h,) = state
        H = self.hidden_size
        x_r, x_z, x_n = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=1)
        if self.reset_after:
            h_r, h_z, h_n = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, dim=1)
            r = activate(self.recurrent_activation, x_r + h_r)
            n = x_n + r * h_n
        else:
            h_r, h_z = F.linear(h, self.weight_hh[: 2 * H], self.bias_hh[: 2 * H]).chunk(2, dim=1)
            r = activate(self.recurrent_activation, x_r + h_r)
            n = x_n + F.linear(r * h, self.weight_hh[2 * H :], self.bias_hh[2 * H :])
        z = activate(self.recurrent_activation, x_z + h_z)
        return {"r": r, "z": z, "n": activate(self.activation, n)}

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return our own GRU on a processor, else the vendor's, which resets after the product."""
        if unusual := self.unusual():
            return f"no kernel has {unusual}"
        reason = served(x)
        if reason and not self.reset_after:
            return f"{reason}; vendor kernels reset after the product with weight_hh alone"
        if why := why_not_compiled(x):
            return why

        def run(x: Tensor, state: GRUState, lengths: Tensor | None) -> tuple[Tensor, GRUState]:
            weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
            if reason:
                y, h = vendor_sequence(x, state[0], weights, lengths)
            else:
                y, h = gru_sequence(x, state[0], weights, lengths, self.reset_after)
            return y, GRUState(h)

        if not reason:
            return Kernel("the compiled GRU", run)
        return Kernel("cuDNN's GRU" if x.is_cuda else f"ATen's GRU loop, as {reason}", run)
