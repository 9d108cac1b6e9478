"""The LSTM with a part of it left out. B rows, I inputs, H units, K sums of each unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.cells.steps import loop_kernel, steps_over
from recurra.nn.state import State
from recurra.table import nearest

__all__ = ["SUMS", "AblatedLSTMCell", "AblatedLSTMState"]

SUMS: Mapping[str, str] = {
    "whole": "ifgo",
    "no_input_gate": "fgo",
    "no_forget_gate": "igo",
    "no_output_gate": "ifg",
    "coupled": "fgo",
    "peepholes": "ifgo",
    "no_input_activation": "ifgo",
    "no_output_activation": "ifgo",
}
"""Variant -> the sums that it computes of each unit, as their blocks follow each other."""


class AblatedLSTMState(NamedTuple):
    """The state of an AblatedLSTMCell: `h (B, H)`, `c (B, H)`."""

    h: Tensor
    c: Tensor


class AblatedLSTMCell(Cell):
    """The LSTM, whole or with one part of it left out or put in.

        i, f, g, o = W_ih x + b + W_hh h, cut in K
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    and the output is `h'`. What is left out of it is 1 where it was a gate, and has no weights:

        no_input_gate          c' = sigmoid(f) * c + tanh(g)
        no_forget_gate         c' = c + sigmoid(i) * tanh(g)
        no_output_gate         h' = tanh(c')
        coupled                c' = sigmoid(f) * c + (1 - sigmoid(f)) * tanh(g)
        no_input_activation    c' = sigmoid(f) * c + sigmoid(i) * g
        no_output_activation   h' = sigmoid(o) * c'
        peepholes              i + p_i * c, f + p_f * c, o + p_o * c' in the place of i, f, o

    Shapes: `x (B, I)`, state `h (B, H)`, `c (B, H)`, output `(B, H)`; `weight_ih (K*H, I)`,
        `weight_hh (K*H, H)`, `bias (K*H,)`, with peepholes `peephole (3, H)`, rows i, f, o.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units.
        variant: one of SUMS.
        forget_bias: added to the forget gate's bias at initialisation, where there is one.

    Raises:
        ConfigError: there is no such variant.
        ShapeError: at a step, for an input or state of another shape.

    Source: Greff et al. 2017, "LSTM: a search space odyssey", section IV: NIG, NFG, NOG, CIFG,
        NIAF and NOAF.

    Differs: from Greff et al., whose variants all have peepholes but one, and whose full gate
        recurrence is not here; from them by the forget bias.

    Example:
        >>> cell = AblatedLSTMCell(3, 5, "no_forget_gate")
        >>> cell(torch.zeros(2, 3), cell.initial_state(2))[0].shape, cell.weight_ih.shape
        (torch.Size([2, 5]), torch.Size([15, 3]))
    """

    state_type = AblatedLSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        variant: str = "whole",
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if variant not in SUMS:
            raise ConfigError(
                f"AblatedLSTMCell: variant is one of {', '.join(SUMS)}, got {variant!r:.80}"
                f".{nearest(variant[:80], SUMS)}"
            )
        self.variant, self.forget_bias = variant, forget_bias
        rows = len(SUMS[variant]) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows))
        if variant == "peepholes":
            self.peephole = nn.Parameter(torch.empty(3, hidden_size))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter uniformly from (-1/sqrt(H), 1/sqrt(H)), then add the forget bias."""
        super().reset_parameters(generator)
        if "f" in (sums := SUMS[self.variant]):
            with torch.no_grad():
                self.bias.chunk(len(sums))[sums.index("f")].add_(self.forget_bias)

    def forward(self, x: Tensor, state: AblatedLSTMState) -> tuple[Tensor, AblatedLSTMState]:
        """Take one step."""
        check_step(self, x, state)
        return self._step(F.linear(x, self.weight_ih, self.bias), state)

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the loop behind one product of all inputs."""
        return loop_kernel("no compiled kernel leaves out a gate", self._run)

    def _run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        return steps_over(self._step, F.linear(x, self.weight_ih, self.bias), state, lengths)

    def _step(self, from_x: Tensor, state: State) -> tuple[Tensor, AblatedLSTMState]:
        h, c = state
        letters = SUMS[self.variant]
        sums = (from_x + F.linear(h, self.weight_hh)).chunk(len(letters), dim=1)
        at = dict(zip(letters, sums))

        def gate(letter: str, seen: Tensor) -> Tensor | float:
            if letter not in at:
                return 1.0
            if self.variant == "peepholes":
                return torch.sigmoid(at[letter] + self.peephole["ifo".index(letter)] * seen)
            return torch.sigmoid(at[letter])

        f = gate("f", c)
        i = 1 - f if self.variant == "coupled" else gate("i", c)
        g = at["g"] if self.variant == "no_input_activation" else torch.tanh(at["g"])
        c = f * c + i * g
        shown = c if self.variant == "no_output_activation" else torch.tanh(c)
        h = gate("o", c) * shown
        return h, AblatedLSTMState(h, c)
