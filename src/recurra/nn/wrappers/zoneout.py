"""Units that keep what they held. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.errors import ConfigError
from recurra.nn.cells.base import Kernel
from recurra.nn.cells.coupled_lstm import CoupledLSTMCell
from recurra.nn.cells.layer_norm_lstm import LayerNormLSTMCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.lstm import LSTMParts, LSTMWeights, lstm_family_sequence
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper
from recurra.nn.wrappers.inside import map_cells, require_part, steps_as
from recurra.nn.wrappers.masks import Masks, require_probabilities

__all__ = ["Zoneout"]

RELATIVES = (LSTMCell, PeepholeLSTMCell, CoupledLSTMCell, LayerNormLSTMCell)
"""The cells whose compiled loop can zone out."""


class Zoneout(Wrapper):
    """Units of the state that keep, at random, the value they had before the step.

        y, s' = f(x, s);  s' becomes  m * s + (1 - m) * s'

    with, in training, m = 1 with the given probability and else 0, drawn for each unit, row and
    step from the generator given to `unroll` or to the step; in evaluation m is the
    probability itself, the expectation. `hidden` acts on the `h` of every state inside, or on
    all of one that is a single tensor, `memory` on the `c`, and nothing on what else a state
    has. An output that is a part of the state, as `h` is of an LSTM, is that part as zoned out.

    Shapes: those of the wrapped recurrence.

    Args:
        cell: what is wrapped.
        hidden: probability of a unit of the hidden state keeping its value, in [0, 1).
        memory: probability of a memory cell keeping its value, in [0, 1).

    Raises:
        ConfigError: for a probability outside [0, 1), and where a cell inside has nothing that
            it could act on: no `h` or `c`, or a `c` in the scale of an `m`, which moves on while
            units of `c` stay; or no steps, as in a Bidirectional.
        RunError: in training mode without a generator.

    Source: Krueger et al. 2017, "Zoneout: regularizing RNNs by randomly preserving hidden
        activations", equations 3-5 and, for evaluation, section 3.1.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> cell = Zoneout(LSTMCell(3, 4), hidden=0.05, memory=0.5)
        >>> y, _ = cell(torch.ones(1, 3), cell.initial_state(), torch.Generator().manual_seed(1))
        >>> cell.eval()(torch.ones(1, 3), cell.initial_state())[0].shape
        torch.Size([1, 4])
    """

    def __init__(self, cell: Recurrence, hidden: float = 0.0, memory: float = 0.0) -> None:
        require_probabilities("Zoneout", hidden=hidden, memory=memory)
        super().__init__([cell])
        if hidden:
            require_part("Zoneout", "hidden= keeps units of", "h", cell)
        if memory:
            require_part("Zoneout", "memory= keeps units of", "c", cell)
            map_cells(_require_no_scale, cell, cell.initial_state())
        self.hidden = hidden
        self.memory = memory

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs and state, part of it as it was.

        Args:
            x: `(B, I)`; whole sequences where both probabilities are 0.
            state: the wrapped recurrence's.
            run: how to reach it, and its masks.
        """
        y, after = run(self.inner(), x, state)
        if not self.hidden and not self.memory:
            return y, after
        zoned: list[tuple[Tensor, Tensor]] = []

        def keep(old: Tensor, new: Tensor, p: float, place: str) -> Tensor:
            zoned.append((new, self._keep(old, new, p, place, run)))
            return zoned[-1][1]

        def zone_out(_: Recurrence, place: str, new: State, old: State) -> State:
            if isinstance(new, Tensor):
                return keep(old, new, self.hidden, place)
            before = dict(zip(new._fields, old))  # of a plain tuple too
            kept = {
                name: keep(before[name], getattr(new, name), p, f"{place}.{name}")
                for name, p in (("h", self.hidden), ("c", self.memory))
                if p
            }
            return new._replace(**kept)

        after = map_cells(zone_out, self.inner(), after, state)
        return next((kept for new, kept in zoned if _is_same(y, new)), y), after

    def _keep(self, old: Tensor, new: Tensor, p: float, place: str, run: Pass) -> Tensor:
        if not p or not new.is_floating_point():
            return new
        if not self.training:
            wide = torch.promote_types(new.dtype, old.dtype)  # autocast narrows the new one
            return torch.lerp(new.to(wide), old.to(wide), p)
        # A dropout mask is 0 where it drops: there the old value stands.
        drops = run.drop(self, place, torch.ones_like(new), p, False)
        return torch.where(drops == 0, old, new)

    def stepwise(self) -> str | None:
        """Return that zoneout asks for a loop, where it acts."""
        return "zoneout acts between steps" if self.hidden or self.memory else None

    def fused(self, x: Tensor, masks: Masks | None, start: int = 0) -> Kernel | None:
        """Return the compiled loop of the LSTM's relatives, which has zoneout in it."""
        cell = self.inner()
        if served(x) or not any(steps_as(cell, kind) for kind in RELATIVES):
            return None

        def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            weights, parts = _family(cell)
            keep_h = self._keeps("state.h", self.hidden, state[0], masks)
            keep_c = self._keeps("state.c", self.memory, state[1], masks)
            parts = parts._replace(keep_h=keep_h, keep_c=keep_c, begin=start)
            h, c = state
            y, h, c = lstm_family_sequence(x, h, c, weights, parts, lengths)
            return y, type(state)(h, c)

        return Kernel("the compiled LSTM with zoneout", run)

    def _keeps(self, place: str, p: float, like: Tensor, masks: Masks | None) -> Tensor | float:
        if not p or not self.training or masks is None:
            return p
        return masks.get(self, place, like.unsqueeze(1), p, False)

    def extra_repr(self) -> str:
        """Return the probabilities, for printing."""
        return f"hidden={self.hidden}, memory={self.memory}"


def _is_same(y: Tensor, part: Tensor) -> bool:
    # Behind a backward hook an output is a tensor of its own, with the part's numbers.
    return y is part or (y.shape == part.shape and y.is_set_to(part))


def _require_no_scale(cell: Recurrence, _: str, state: State) -> State:
    names = getattr(state, "_fields", ())
    if "m" in names:
        raise ConfigError(
            f"Zoneout: memory= keeps units of c, which in the state {', '.join(names)} of "
            f"{type(cell).__name__} is in the scale of m, and m moves on; zone out other cells"
        )
    return state


def _family(cell: Recurrence) -> tuple[LSTMWeights, LSTMParts]:
    if isinstance(cell, (PeepholeLSTMCell, CoupledLSTMCell, LayerNormLSTMCell)):
        return cell.family()
    assert isinstance(cell, LSTMCell)
    return (cell.weight_ih, cell.weight_hh, cell.bias_ih + cell.bias_hh), LSTMParts()
