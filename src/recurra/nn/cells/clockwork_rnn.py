"""The clockwork network. B rows, T steps, I inputs, H units, in modules of a period each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.kernels.vendor import rnn_sequence, why_not_compiled
from recurra.nn.state import State

__all__ = ["ClockworkRNNCell", "ClockworkRNNState"]


class ClockworkRNNState(NamedTuple):
    """The state of a ClockworkRNNCell: `h (B, H)`, and `steps (B, 1)`, each row's so far."""

    h: Tensor
    steps: Tensor


class ClockworkRNNCell(Cell):
    """The clockwork network: modules of units, each of which steps at every P-th step alone.

        h'_i = tanh(W_i x + b_i + sum over j of W_ij h_j)   where P_i divides the row's steps so far
        h'_i = h_i                                          elsewhere

    over the modules j as slow as i or slower; the output is `h'`. A row's steps are
    counted since its start or last reset, from 0, so that all modules take the first step; it is
    kept modulo the least common multiple of the periods, which bfloat16 holds up to 256.

    Shapes: `x (B, I)`, state `h (B, H)`, `steps (B, 1)`, output `(B, H)`; `weight_ih (H, I)`,
        `weight_hh (H, H)`, `bias_ih (H,)`, `bias_hh (H,)`. Of `weight_hh` the blocks below the
        diagonal are not read.

    Args:
        input_size: I, features of an input.
        hidden_size: H, units, shared out evenly among the modules, the fastest first.
        periods: the modules' periods in steps, rising; with fewer units than periods, as many
            as there are units.

    Raises:
        ConfigError: for periods that do not rise from at least 1.
        ShapeError: at a step, for an input or state of another shape.

    Source: Koutnik et al. 2014, "A clockwork RNN", section 3.

    Example:
        >>> cell = ClockworkRNNCell(3, 8, periods=(1, 2, 4, 8))
        >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2))
        >>> y.shape, state.steps.flatten()
        (torch.Size([2, 8]), tensor([1., 1.]))
    """

    state_type = ClockworkRNNState
    recipes = ("weights", "biases")
    marks = ("steps",)
    period: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, periods: Sequence[int] = (1, 2, 4, 8)
    ) -> None:
        super().__init__(input_size, hidden_size)
        if not periods or periods[0] < 1 or any(a >= b for a, b in pairwise(periods)):
            raise ConfigError(
                f"ClockworkRNNCell: periods rise from at least 1, got {tuple(periods)}"
            )
        self.hidden_size = hidden_size
        self.periods = tuple(periods[:hidden_size])
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(hidden_size))
        period = torch.cat([torch.full((b - a,), float(P)) for P, a, b in self._clocks()])
        self.register_buffer("period", period, persistent=False)
        self.reset_parameters()

    def _clocks(self) -> list[tuple[int, int, int]]:
        """Return each module's period, and where its units begin and end."""
        share, rest = divmod(self.hidden_size, len(self.periods))
        ends = [n * share + min(n, rest) for n in range(len(self.periods) + 1)]
        return list(zip(self.periods, ends, ends[1:]))

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return that of the steps."""
        return {"steps": (1,)}

    def forward(self, x: Tensor, state: ClockworkRNNState) -> tuple[Tensor, ClockworkRNNState]:
        """Take one step."""
        check_step(self, x, state)
        h, steps = state
        # Each module reads what it may: zeros as factors let what is not finite through.
        from_h = [
            F.linear(h[:, start:], self.weight_hh[start:stop, start:])
            for _, start, stop in self._clocks()
        ]
        from_x = F.linear(x, self.weight_ih, self.bias_ih + self.bias_hh)
        takes = torch.remainder(steps, self.period) < 1
        new = torch.tanh(torch.where(takes, from_x + torch.cat(from_h, dim=1), 0))
        h = torch.where(takes, new, h)
        return h, ClockworkRNNState(h, torch.remainder(steps + 1, math.lcm(*self.periods)))

    def kernel(self, x: Tensor) -> Kernel | str:
        """Return the vendor's RNN, run for each module over the steps that it takes."""
        if reason := why_not_compiled(x):
            return reason
        name = "cuDNN's RNN" if x.is_cuda else "ATen's RNN loop"
        return Kernel(f"{name} for each module over its own steps", self._sequences)

    def _sequences(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        B, T = x.shape[:2]
        h, steps = state
        ends = x.new_full((B, 1), T, dtype=torch.int64) if lengths is None else lengths.view(B, 1)
        slower = x.new_zeros(B, T + 1, 0)  # what the slower modules hold before each step
        last = x.new_zeros(B, 0)
        for P, start, stop in reversed(self._clocks()):
            own = _Steps(P, steps.detach().floor().long(), T)
            weights = (
                torch.cat([self.weight_ih[start:stop], self.weight_hh[start:stop, stop:]], dim=1),
                self.weight_hh[start:stop, start:stop],
                self.bias_ih[start:stop],
                self.bias_hh[start:stop],
            )
            inputs = own.taken(torch.cat([x, slower[:, :-1]], dim=2))
            before = h[:, start:stop]
            number = None if P == 1 and lengths is None else own.number(ends)
            y, after = rnn_sequence(inputs, before, weights, "tanh", number)
            slower = torch.cat([own.held(before, y), slower], dim=2)
            last = torch.cat([after, last], dim=1)
        turned = torch.remainder(steps + ends, math.lcm(*self.periods))
        return slower[:, 1:], ClockworkRNNState(last, torch.where(ends > 0, turned, steps))


class _Steps:
    """Which of T steps a module of period P takes in each row, which has had `past (B, 1)`."""

    def __init__(self, P: int, past: Tensor, T: int) -> None:
        self.P, self.T = P, T
        self.first = torch.remainder(-past, P)
        self.rows = torch.arange(past.shape[0], device=past.device).unsqueeze(1)

    def number(self, ends: Tensor) -> Tensor:
        """Return `(B,)`: how many each row takes before its end."""
        number = torch.div(ends - self.first + self.P - 1, self.P, rounding_mode="floor")
        return number.clamp(min=0).squeeze(1)

    def taken(self, sequence: Tensor) -> Tensor:
        """Return what `sequence (B, T, F)` holds at the steps taken."""
        if self.P == 1:
            return sequence
        # A graph of any T has no place for a number of turns that may be 1: one more, not taken.
        turns = torch.arange((self.T - 1) // self.P + 1 + is_compiling(), device=sequence.device)
        return sequence[self.rows, (self.first + self.P * turns).clamp(max=self.T - 1)]

    def held(self, before: Tensor, y: Tensor) -> Tensor:
        """Return `(B, T + 1, F)`: what the module holds before the first step and after each."""
        all_of_it = torch.cat([before.unsqueeze(1), y], dim=1)
        if self.P == 1:
            return all_of_it
        steps = torch.arange(-1, self.T, device=y.device)
        turns = torch.div(steps - self.first, self.P, rounding_mode="floor") + 1
        return all_of_it[self.rows, turns.clamp(min=0)]
