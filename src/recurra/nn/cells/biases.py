"""What cells with torch's two biases, and those with a forget gate, let one do to them.

K gates of H units.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

__all__ = ["ForgetGate", "TwoBiases"]


class TwoBiases:
    """A cell with `bias_ih` and `bias_hh`, of which only the sum acts.

    Example:
        >>> from recurra.nn.cells.rnn import RNNCell
        >>> isinstance(RNNCell(3, 5), TwoBiases)
        True
    """

    bias_hh: nn.Parameter

    def hold_bias_hh(self) -> None:
        """Set `bias_hh` to zero and learn it no more.

        Beside `bias_ih`, to which it is added, it says nothing new, but makes the bias learn at
        twice the rate: the papers and TensorFlow have one.
        """
        nn.init.zeros_(self.bias_hh.requires_grad_(False))


class ForgetGate:
    """A cell with a forget gate whose bias is a part of `bias_ih (K*H,)`.

    Example:
        >>> from recurra.nn.cells.coupled_lstm import CoupledLSTMCell
        >>> cell = CoupledLSTMCell(3, 1)
        >>> before = cell.bias_ih.detach().clone()
        >>> cell.add_forget_bias(2.0)
        >>> (cell.bias_ih.detach() - before).round()
        tensor([2., 0., 0.])
    """

    gate_order: ClassVar[str] = "ifgo"
    """The gates as their blocks follow each other in weights and biases."""

    bias_ih: nn.Parameter

    def add_forget_bias(self, value: float) -> None:
        """Add `value` to the bias of the forget gate.

        Args:
            value: what to add.
        """
        with torch.no_grad():
            self.bias_ih.chunk(len(self.gate_order))[self.gate_order.index("f")].add_(value)
