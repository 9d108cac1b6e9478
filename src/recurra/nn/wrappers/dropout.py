"""Dropout around, and between, the steps of a recurrence. B rows, T steps, I inputs, O outputs."""

from __future__ import annotations

from torch import Tensor

from recurra.nn.cells.base import require_state
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper
from recurra.nn.wrappers.inside import map_cells, require_part
from recurra.nn.wrappers.masks import require_probabilities

__all__ = ["Dropout"]


class Dropout(Wrapper):
    """Units dropped, in training mode, before, after and between the steps of a recurrence.

        y, s' = f(m_in * x, m_state * s);  the output is m_out * y

    with m = 0 with the given probability of *dropping*, else 1 / (1 - probability). Of a state
    its `h` alone is masked, or all of one that is a single tensor; of a nest's every `h`. The
    state returned is unmasked. The masks come from the generator given to `unroll` or to the
    step. The probabilities are given by name, as each is one of several.

    Shapes: those of the wrapped recurrence.

    Args:
        cell: what is wrapped.
        input: probability of dropping an input's unit, in [0, 1]; 1 leaves zeros.
        output: probability of dropping an output's unit, in [0, 1].
        state: probability of dropping a unit of the state, in [0, 1]; asks for a loop over
            steps, as no vendor kernel lets one between them.
        variational: one mask serves all the steps of an `unroll`, and each `unroll` draws anew.

    Raises:
        ConfigError: for a probability outside [0, 1], and for one of the state where a cell
            inside has no `h`, or something inside has no steps, as a Bidirectional.
        RunError: in training mode without a generator.

    Source: Zaremba et al. 2014, "Recurrent neural network regularization", for masks per step
        off the recurrent path; Gal & Ghahramani 2016, equation 7, for variational ones.

    Differs: from the keep probabilities of TensorFlow 1: `keep=.9` is `output=.1` here.

    Example:
        >>> import torch
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> cell = Dropout(LSTMCell(3, 4), output=0.5)
        >>> y, _ = cell(torch.ones(1, 3), cell.initial_state(), torch.Generator().manual_seed(1))
        >>> cell.eval()(torch.ones(1, 3), cell.initial_state())[0].shape
        torch.Size([1, 4])
    """

    def __init__(
        self,
        cell: Recurrence,
        *,
        input: float = 0.0,
        output: float = 0.0,
        state: float = 0.0,
        variational: bool = False,
    ) -> None:
        require_probabilities("Dropout", True, input=input, output=output, state=state)
        super().__init__([cell])
        if state:
            require_part("Dropout", "state= drops units of", "h", cell)
        self.input = input
        self.output = output
        self.state = state
        self.variational = variational

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return the wrapped recurrence's outputs and state, masked on the way."""
        if not self.training:
            return run(self.inner(), x, state)
        if self.input:
            x = run.drop(self, "input", x, self.input, self.variational)
        if self.state:
            state = self._drop_state(x, state, run)
        y, state = run(self.inner(), x, state)
        if self.output:
            y = run.drop(self, "output", y, self.output, self.variational)
        return y, state

    def _drop_state(self, x: Tensor, state: State, run: Pass) -> State:
        def drop(cell: Recurrence, place: str, state: State) -> State:
            h = getattr(state, "h", state)
            if getattr(h, "dtype", None) is not x.dtype:  # a plain tuple, or what has no mask
                initial = cell.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
                state = require_state(cell, x, state, initial)
            if isinstance(state, Tensor):
                return run.drop(self, place, state, self.state, self.variational)
            dropped = run.drop(self, f"{place}.h", state.h, self.state, self.variational)
            return state._replace(h=dropped)

        return map_cells(drop, self.inner(), state)

    def stepwise(self) -> str | None:
        """Return that a masked state asks for a loop, where it is masked."""
        if self.training and self.state:
            return "dropout of the state acts between steps"
        return None

    def extra_repr(self) -> str:
        """Return the probabilities, for printing."""
        return (
            f"input={self.input}, output={self.output}, state={self.state}, "
            f"variational={self.variational}"
        )
