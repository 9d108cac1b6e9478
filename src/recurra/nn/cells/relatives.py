"""The kernel of the LSTM's relatives, which one loop knows by their weights and parts.

B rows, T steps, I inputs.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from torch import Tensor

from recurra.nn.cells.base import Kernel
from recurra.nn.kernels.device.lstm import lstm_family_for
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights
from recurra.nn.state import State

__all__ = ["Relative", "relative_kernel"]


class Relative(Protocol):
    """A cell with the state h, c whose steps that loop can take."""

    state_type: ClassVar[Any]
    hidden_size: int

    def family(self) -> tuple[LSTMWeights, LSTMParts]:
        """Return the weights and the parts by which the loop knows this cell."""
        ...


def relative_kernel(cell: Relative, x: Tensor, has: str, *parts: str) -> Kernel | str:
    """Return the loop of the LSTM's relatives that is for the device, or why there is none.

    Args:
        cell: whose kernel it is.
        x: the sequences `(B, T, I)`, or anything of their device and dtype.
        has: what it has beside the LSTM, in words.
        parts: the same by their names: peephole, norm, clip, coupled.
    """
    found = lstm_family_for(x, cell.hidden_size, *parts)
    if isinstance(found, str):
        return found

    def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, h, c = found.run(x, *state, *cell.family(), lengths)
        return y, cell.state_type(h, c)

    return Kernel(f"{found.name} with {has}", run, found.looped)
