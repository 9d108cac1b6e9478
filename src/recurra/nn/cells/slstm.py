"""The LSTM with exponential gates. B rows, I inputs, H units in N heads; gates i, f, z, o."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import NOTHING_YET, Cell, Kernel, check_step
from recurra.nn.cells.steps import loop_kernel, steps_over
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.logarithm import log_add
from recurra.nn.kernels.loops.slstm import slstm_sequence
from recurra.nn.state import State

__all__ = ["SLSTMCell", "SLSTMState"]


class SLSTMState(NamedTuple):
    """The state of an SLSTMCell: `h`, `c` and `m`, each `(B, H)`.

    `c` is the normalised cell, `m` the logarithm of what normalises it.
    """

    h: Tensor
    c: Tensor
    m: Tensor


class SLSTMCell(Cell):
    """The sLSTM of the xLSTM: exponential gates, and a cell divided by what the gates add up to.

        i, f, z, o = W_ih x + b_ih + W_hh h, cut in four
        C' = F C + exp(i) tanh(z),  N' = F N + exp(i),  F = sigmoid(f) or exp(f)
        h' = sigmoid(o) * C' / N'

    and the output is `h'`. It is computed, and kept, as `c = C / N` and `m = log N`, which are
    in range whatever the gates are:

        m' = logaddexp(log F + m, i),  c' = c + exp(i - m') (tanh(z) - c)

    A unit of h is read by the units of its own head alone.

    Shapes: `x (B, I)`, state `h`, `c`, `m` `(B, H)`, output `(B, H)`; `weight_ih (4H, I)`,
        `weight_hh (4H, H / N)`, each row reading the units of its own head, `bias_ih (4H,)`.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        num_heads: N, which divides H.
        forget: `"sigmoid"` or `"exponential"`.
        forget_bias: added to the forget gate's bias at initialisation.

    Raises:
        ConfigError: where the heads do not divide the units, or for another forget gate.
        ShapeError: at a step, for an input or state of another shape.

    Source: Beck et al. 2024, "xLSTM: extended long short-term memory", equations 8-17.

    Differs: the paper keeps C and N each divided by exp(m) for an m of its own (the largest of
        the exponents so far); the two tensors here give the same outputs.

    Example:
        >>> cell = SLSTMCell(3, 6, num_heads=2)
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, cell.weight_hh.shape
        (torch.Size([2, 6]), torch.Size([24, 3]))
    """

    state_type = SLSTMState
    starts_at: ClassVar = {"m": NOTHING_YET}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_heads: int = 1,
        forget: Literal["sigmoid", "exponential"] = "sigmoid",
        forget_bias: float = 3.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if num_heads < 1 or hidden_size % num_heads:
            raise ConfigError(
                f"SLSTMCell: num_heads divides the {hidden_size} units, got {num_heads}"
            )
        if forget not in ("sigmoid", "exponential"):
            raise ConfigError(f"forget is 'sigmoid' or 'exponential', got {forget!r}")
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.forget = forget
        self.forget_bias = forget_bias
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size // num_heads))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        super().reset_parameters(generator)
        with torch.no_grad():
            self.bias_ih[self.hidden_size : 2 * self.hidden_size] += self.forget_bias

    def forward(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        """Take one step."""
        check_step(self, x, state)
        y, after = self._step(F.linear(x, self.weight_ih, self.bias_ih), state)
        return y, after

    def _step(self, sums: Tensor, state: State) -> tuple[Tensor, State]:
        h, c, m = state
        i, f, z, o = (sums + self._recurrent(h)).chunk(4, dim=1)
        kept = m + (F.logsigmoid(f) if self.forget == "sigmoid" else f)
        m = log_add(kept, i)
        c = c + torch.exp(i - m) * (torch.tanh(z) - c)
        h = torch.sigmoid(o) * c
        return h, SLSTMState(h, c, m)

    def _recurrent(self, h: Tensor) -> Tensor:
        if self.num_heads == 1:
            return F.linear(h, self.weight_hh)
        N, d = self.num_heads, self.hidden_size // self.num_heads
        weight = self.weight_hh.view(4, N, d, d)
        return torch.einsum("gnji,bni->bgnj", weight, h.view(-1, N, d)).flatten(1)

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the compiled sLSTM where it serves, else a loop behind one product."""
        if reason := served(x):
            return loop_kernel(reason, self._loop)
        return Kernel("the compiled sLSTM", self._compiled)

    def _compiled(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        weights = (self.weight_ih, self.weight_hh, self.bias_ih)
        is_exponential = self.forget == "exponential"
        y, end = slstm_sequence(x, tuple(state), weights, is_exponential, lengths)
        return y, SLSTMState(*end)

    def _loop(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        sums = F.linear(x, self.weight_ih, self.bias_ih)
        return steps_over(self._step, sums, state, lengths)
