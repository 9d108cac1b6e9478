"""Steps that are there, laid side by side and back: what `mask` and packed sequences become.

B rows, T steps, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.nn.sequences import Traced
from recurra.nn.state import State

__all__ = ["Present", "packed_like", "padded", "traces"]


class Present:
    """Which steps are there: they are moved to the front, where lengths say how many there are.

    Args:
        mask: `(B, T)`, whether a step is there.
        lengths: `(B,)`, behind which none is.

    Example:
        >>> there = Present(torch.tensor([[False, True, True]]))
        >>> there.to_front(torch.tensor([[7, 8, 9]])), there.lengths
        (tensor([[8, 9, 7]]), tensor([2]))
        >>> there.back(torch.tensor([[1.0, 2.0, 3.0]]).unsqueeze(2)).flatten()
        tensor([0., 1., 2.])
    """

    def __init__(self, mask: Tensor, lengths: Tensor | None = None) -> None:
        if lengths is not None:
            mask = mask & (torch.arange(mask.shape[1], device=mask.device) < lengths.unsqueeze(1))
        self.mask = mask
        self.lengths = mask.sum(1)
        self.order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
        self.place = mask.cumsum(1) - 1

    def to_front(self, x: Tensor) -> Tensor:
        """Return `x (B, T, ...)` with the steps that are there at the front, the others behind.

        Args:
            x: anything of all steps.
        """
        return _at(x, self.order)

    def back(self, y: Tensor) -> Tensor:
        """Return `y (B, T, O)` with each step where it came from, and zeros between.

        Args:
            y: outputs, the steps that are there at the front.
        """
        return _at(y, self.place.clamp(min=0)).masked_fill(~self.mask.unsqueeze(2), 0)

    def read(self, from_end: bool) -> Tensor:
        """Return `(B, T)`, which step was read last, as they stand at the front; -1 for none.

        Args:
            from_end: whether steps are read from the last one on.
        """
        if not from_end:
            return self.place
        following = self.place + (~self.mask)
        return torch.where(following < self.lengths.unsqueeze(1), following, -1)


def traces(state: State, lengths: Tensor | None, present: Present | None) -> tuple[State, State]:
    """Return the state at the end, and the states after all steps, of one whose tensors are Traced.

    Args:
        state: as a pass that traces returns it.
        lengths: of the rows, where there are any.
        present: which steps are there, where not all of them are.
    """

    def each(traced: Traced) -> Tensor:
        read = _read(traced, lengths, present)
        if read is None:
            return traced.each
        found = _at(traced.each, read.clamp(min=0))
        shape = (*read.shape, *[1] * (found.dim() - 2))
        return torch.where((read >= 0).view(shape), found, traced.begin.unsqueeze(1))

    return _parts(state, lambda traced: traced.end), _parts(state, each)


def padded(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Return what is packed as `(B, T, I)`, and the lengths `(B,)` of its rows.

    Args:
        packed: as `pack_padded_sequence` makes it.

    Example:
        >>> padded(pack_padded_sequence(torch.ones(1, 2, 1), [2], batch_first=True))[1]
        tensor([2])
    """
    # In the order they are packed in, whose lengths are known here: nothing waits for a device.
    in_order = PackedSequence(packed.data, packed.batch_sizes)
    x, lengths = pad_packed_sequence(in_order, batch_first=True)
    lengths, rows = lengths.to(x.device), packed.unsorted_indices
    if rows is None:
        return x, lengths
    return x.index_select(0, rows), lengths.index_select(0, rows)


def packed_like(y: Tensor, packed: PackedSequence) -> PackedSequence:
    """Return `y (B, T, O)` packed as what it was made of.

    Args:
        y: the outputs.
        packed: the inputs.
    """
    order, rows = packed.sorted_indices, packed.unsorted_indices
    y = y if order is None else y.index_select(0, order)
    sizes = packed.batch_sizes
    lengths = (sizes.unsqueeze(1) > torch.arange(y.shape[0])).sum(0)
    data = pack_padded_sequence(y, lengths, batch_first=True).data
    return PackedSequence(data, sizes, order, rows)


def _at(x: Tensor, steps: Tensor) -> Tensor:
    return x[torch.arange(x.shape[0], device=x.device).unsqueeze(1), steps]


def _read(traced: Traced, lengths: Tensor | None, present: Present | None) -> Tensor | None:
    if present is not None:
        return present.read(traced.from_end)
    if lengths is None or not traced.from_end:
        return None
    steps = torch.arange(traced.each.shape[1], device=lengths.device)
    return torch.where(steps < lengths.unsqueeze(1), steps, -1)


def _parts(state: State, of: Callable[[Traced], Tensor]) -> State:
    if isinstance(state, Traced):
        return of(state)
    parts = [_parts(part, of) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
