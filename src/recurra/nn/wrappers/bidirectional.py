"""Recurrences that read a sequence from both ends. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.errors import ConfigError, ShapeError
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Bidirectional", "BidirectionalState"]


class BidirectionalState(NamedTuple):
    """The states of the two directions."""

    forward: State
    backward: State


class Bidirectional(Wrapper):
    """Two recurrences over the same sequence, one from each end, their outputs merged.

    Each row is reversed within its own length. A single step raises: it has no future. So hooks
    on it, and on what it is inside of, are called once, over whole sequences.

    Shapes: `x (B, T, I)` by `unroll` alone; output `(B, T, O)` with O the sum of both
        outputs for `"concat"`, else their common size; state: both states.

    Args:
        forward: reads from the start.
        backward: reads from the end.
        merge: `"concat"`, `"sum"`, `"mean"` or `"product"` of the two outputs.

    Raises:
        ConfigError: for another merge.
        ShapeError: where sizes do not fit, and at a single step.

    Source: Schuster & Paliwal 1997, "Bidirectional recurrent neural networks".

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> from recurra.nn.unroll import unroll
        >>> both = Bidirectional(GRUCell(3, 4), GRUCell(3, 4))
        >>> unroll(both, torch.zeros(2, 7, 3))[0].shape
        torch.Size([2, 7, 8])
    """

    state_type = BidirectionalState
    looks_ahead = True

    def __init__(
        self,
        forward: Recurrence,
        backward: Recurrence,
        merge: Literal["concat", "sum", "mean", "product"] = "concat",
    ) -> None:
        if merge not in ("concat", "sum", "mean", "product"):
            raise ConfigError(f"merge is concat, sum, mean or product, got {merge!r}")
        super().__init__([forward, backward])
        if forward.input_size != backward.input_size:
            raise ShapeError(
                f"Bidirectional: the directions take {forward.input_size} and "
                f"{backward.input_size} inputs, expected the same"
            )
        if merge != "concat" and forward.output_size != backward.output_size:
            raise ShapeError(
                f"Bidirectional: {merge} needs outputs of one size, got "
                f"{forward.output_size} and {backward.output_size}"
            )
        self.output_size = forward.output_size
        if merge == "concat":
            self.output_size += backward.output_size
        self.merge = merge

    def owners(self) -> tuple[int, int]:
        """Return that the state is that of either direction."""
        return 0, 1

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the merged outputs, and both states."""
        forward, state_forward = run(self.inner(0), x, state[0])
        backward, state_backward = run.backwards(self.inner(1), x, state[1])
        return self._merge(forward, backward), BidirectionalState(state_forward, state_backward)

    def _merge(self, forward: Tensor, backward: Tensor) -> Tensor:
        if self.merge == "concat":
            return torch.cat([forward, backward], dim=-1)
        if self.merge == "product":
            return forward * backward
        total = forward + backward
        return total / 2 if self.merge == "mean" else total

    def extra_repr(self) -> str:
        """Return the merge, for printing."""
        return f"merge={self.merge!r}"
