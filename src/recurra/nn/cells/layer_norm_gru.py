"""The GRU with layer normalisation. B rows, I inputs, H units; gates in the order r, z, n."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.layer_norm_gru import layer_norm_gru_sequence

__all__ = ["LayerNormGRUCell", "LayerNormGRUState"]


class LayerNormGRUState(NamedTuple):
    """The state of a LayerNormGRUCell: `h (B, H)`."""

    h: Tensor


class LayerNormGRUCell(Cell):
    """The gated recurrent unit with its sums normalised.

        LN(v; a, b) = a * (v - mean(v)) / sqrt(var(v) + eps) + b
        x_r, x_z = LN([W_ir; W_iz] x; a_ih, b_ih)        x_n = LN(W_in x; a_ih, b_ih)
        h_r, h_z = LN([W_hr; W_hz] h; a_hh, b_hh)        h_n = LN(W_hn h; a_hh, b_hh)
        r = sigmoid(x_r + h_r)
        z = sigmoid(x_z + h_z)
        n = tanh(x_n + r * h_n)
        h' = (1 - z) * n + z * h

    and the output is `h'`. Normalised are, each by its own mean and variance: the 2H sums of
    both gates taken together, once those that come from the input and once those that come
    from the hidden state; and the H sums of the candidate, again the two kinds apart. The
    state itself is not normalised.

    Shapes: `x (B, I)`, state `h (B, H)`, output `(B, H)`; `weight_ih (3H, I)`,
        `weight_hh (3H, H)`, `gain_ih`, `gain_hh`, `bias_ih`, `bias_hh` `(3H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        eps: added to each variance.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", equations 22-25 of the supplement
        (there z and 1 - z change places).

    Example:
        >>> cell = LayerNormGRUCell(3, 5)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape
        torch.Size([2, 5])
    """

    state_type = LayerNormGRUState
    state_is_output = True

    def __init__(self, input_size: int, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__(input_size, hidden_size)
        self.hidden_size = hidden_size
        self.eps = eps
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.gain_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.gain_hh = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights uniformly from (-1/sqrt(H), 1/sqrt(H)); gains are 1, biases 0."""
        super().reset_parameters(generator)
        for gain in (self.gain_ih, self.gain_hh):
            nn.init.ones_(gain)
        for bias in (self.bias_ih, self.bias_hh):
            nn.init.zeros_(bias)

    def forward(self, x: Tensor, state: LayerNormGRUState) -> tuple[Tensor, LayerNormGRUState]:
        """Take one step."""
        _, z, n = LayerNormGRUCell.gates(self, x, state).values()
        h = (1 - z) * n + z * state[0]
        return h, LayerNormGRUState(h)

    def gates(self, x: Tensor, state: LayerNormGRUState) -> dict[str, Tensor]:
        """Return the gates r, z in (0, 1) and the candidate n in (-1, 1), each `(B, H)`.

        h' = (1 - z) * n + z * h
        """
        check_step(self, x, state)
        x_r, x_z, x_n = self._normalised(F.linear(x, self.weight_ih), self.gain_ih, self.bias_ih)
        h_r, h_z, h_n = self._normalised(
            F.linear(state[0], self.weight_hh), self.gain_hh, self.bias_hh
        )
        r = torch.sigmoid(x_r + h_r)
        return {"r": r, "z": torch.sigmoid(x_z + h_z), "n": torch.tanh(x_n + r * h_n)}

    def _normalised(self, sums: Tensor, gain: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        H, norm, eps = self.hidden_size, F.layer_norm, self.eps
        gates = norm(sums[:, : 2 * H], (2 * H,), gain[: 2 * H], bias[: 2 * H], eps)
        n = norm(sums[:, 2 * H :], (H,), gain[2 * H :], bias[2 * H :], eps)
        return *gates.chunk(2, dim=1), n

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return our own kernel, as vendors have none."""
        if reason := served(x):
            return reason

        def run(
            x: Tensor, state: LayerNormGRUState, lengths: Tensor | None
        ) -> tuple[Tensor, LayerNormGRUState]:
            products = (self.weight_ih, self.weight_hh)
            norms = (self.gain_ih, self.gain_hh, self.bias_ih, self.bias_hh)
            y, h = layer_norm_gru_sequence(x, state[0], (*products, *norms), self.eps, lengths)
            return y, LayerNormGRUState(h)

        return Kernel("the compiled layer-norm GRU", run)
