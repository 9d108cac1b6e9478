"""Recurrences that skip steps. B rows, T steps, I inputs, O outputs, D the dilation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, kernel_of
from recurra.nn.state import State, map_tensors
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper
from recurra.nn.wrappers.inside import require_steps
from recurra.nn.wrappers.masks import Masks

__all__ = ["Dilated"]


class Dilated(Wrapper):
    """A recurrence each step of which starts from the state of D steps before.

        y_t, s_t = f(x_t, s_{t - D})

    The state is that of the last D steps, the oldest first. Over whole sequences the kernel of
    a cell runs each row as D rows, of every D-th step each; so D times fewer steps follow one
    another. What acts on states, Zoneout say, belongs inside: `Dilated(Zoneout(cell))`.

    Shapes: those of the wrapped recurrence; state: a tuple of D of its states.

    Args:
        cell: what is wrapped.
        dilation: D, steps back; 1 changes nothing.

    Raises:
        ConfigError: for a dilation below 1, or one above it of what looks ahead.

    Source: Chang et al. 2017, "Dilated recurrent neural networks", equation 1; its layers have
        the dilations 1, 2, 4 and so on.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> from recurra.nn.unroll import unroll
        >>> y, state = unroll(Dilated(GRUCell(3, 4), 2), torch.zeros(2, 7, 3))
        >>> y.shape, len(state)
        (torch.Size([2, 7, 4]), 2)
    """

    def __init__(self, cell: Recurrence, dilation: int = 2) -> None:
        if not isinstance(dilation, int) or dilation < 1:
            raise ConfigError(
                f"Dilated: dilation is a whole number of at least 1, got {dilation!r}"
            )
        super().__init__([cell])
        if dilation > 1:
            require_steps("Dilated", cell)
        self.dilation = dilation

    def owners(self) -> Sequence[int]:
        """Return that the state is D states of the one wrapped recurrence."""
        return (0,) * self.dilation

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the outputs, and the states of the last D steps.

        Args:
            x: `(B, I)` in a step, `(B, T, I)` over sequences with a dilation of 1.
            state: the states of the D steps before, the oldest first.
            run: how to reach what is wrapped.
        """
        y, after = run(self.inner(), x, state[0])
        return y, (*state[1:], after)

    def stepwise(self) -> str | None:
        """Return that a step starts from a state of long before, where it does."""
        if self.dilation == 1:
            return None
        return f"each step starts from the state of {self.dilation} steps before"

    def fused(self, x: Tensor, masks: Masks | None, start: int = 0) -> Kernel | None:
        """Return the kernel of the cell, over D rows for each row.

        Args:
            x: the sequences, or anything of their device and dtype.
            masks: not read, as a cell draws none.
            start: not read.
        """
        cell = self.inner()
        kernel = kernel_of(cell, x) if isinstance(cell, Cell) and self.dilation > 1 else None
        if torch.compiler.is_compiling():  # the rest of T / D would be a graph's own
            return None
        if not isinstance(kernel, Kernel):
            return None

        def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            return self._apart(kernel, x, state, lengths)

        name = f"{kernel.name} over every {_ordinal(self.dilation)} step"
        return Kernel(name, run, kernel.looped)

    def _apart(
        self, kernel: Kernel, x: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        (B, T), D = x.shape[:2], self.dilation
        padded = F.pad(x, (0, 0, 0, -T % D))
        apart = padded.view(B, -1, D, x.shape[2]).transpose(1, 2).flatten(0, 1)
        before = map_tensors(lambda *parts: torch.stack(parts, 1).flatten(0, 1), *state)
        phases = torch.arange(D, device=x.device)
        ends = T if lengths is None else lengths.unsqueeze(1)
        number = None
        if lengths is not None or T % D:
            number = torch.div(ends - phases + D - 1, D, rounding_mode="floor").clamp(min=0)
            number = number.expand(B, D).flatten()
        y, after = kernel.run(apart, before, number)
        y = y.view(B, D, -1, y.shape[2]).transpose(1, 2).flatten(1, 2)[:, :T]
        rows = torch.arange(B, device=x.device).unsqueeze(1)
        oldest_first = D * rows + (ends + phases) % D
        in_order = [map_tensors(lambda tensor, of=of: tensor[of], after) for of in oldest_first.T]
        return y, tuple(in_order)

    def extra_repr(self) -> str:
        """Return the dilation, for printing."""
        return f"dilation={self.dilation}"


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
