"""Attention of a recurrence over its own last outputs.

B rows, T steps, I inputs, O outputs, A units that score, W outputs remembered.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import Cell, Kernel, check_step
from recurra.nn.state import State
from recurra.nn.wrappers.base import Pass, Recurrence, Wrapper

__all__ = ["Attention", "AttentionState", "WindowAttention", "WindowState"]

BLOCK = 128
"""Steps read by one product, so that its zeros grow with the steps and not with their square."""


class WindowState(NamedTuple):
    """The last inputs of a WindowAttention, the oldest first: `memory (B, W, O)`, and
    `filled (B, W)`, 1 where something has been written and 0 where not yet."""

    memory: Tensor
    filled: Tensor


class AttentionState(NamedTuple):
    """The state of what Attention wraps, and the window of its last outputs."""

    cell: State
    window: WindowState


class WindowAttention(Cell):
    """Attention over the last W inputs, by the equations of `Attention` for a given f_t.

    It is a recurrence whose state is those inputs; no step waits for the one before, so whole
    sequences are read at once.

    Shapes: `x (B, O)`, output `(B, O)`, state `memory (B, W, O)`, `filled (B, W)`;
        `weight_memory (A, O)`, `weight_query (A, O)`, `score (A,)`, `weight_read (O, O)`,
        `weight_out (O, O)`.

    Args:
        output_size: O, features of an input and of an output.
        size: A, units that score.
        window: W, inputs remembered.

    Raises:
        ShapeError: at a step, for an input or state of another shape.

    Source: as `Attention`.

    Example:
        >>> cell = WindowAttention(4, 3, 2)
        >>> y, state = cell(torch.ones(1, 4), cell.initial_state())
        >>> state.filled
        tensor([[0., 1.]])
    """

    state_type = WindowState
    marks = ("memory", "filled")

    def __init__(self, output_size: int, size: int, window: int) -> None:
        super().__init__(output_size, output_size)
        self.size = size
        self.window = window
        self.weight_memory = nn.Parameter(torch.empty(size, output_size))
        self.weight_query = nn.Parameter(torch.empty(size, output_size))
        self.score = nn.Parameter(torch.empty(size))
        self.weight_read = nn.Parameter(torch.empty(output_size, output_size))
        self.weight_out = nn.Parameter(torch.empty(output_size, output_size))
        self.reset_parameters()

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a row's window."""
        return {"memory": (self.window, self.output_size), "filled": (self.window,)}

    def forward(self, x: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        """Take one step."""
        check_step(self, x, state)
        y, joined = self._read(x.unsqueeze(1), state)
        return y.squeeze(1), WindowState(*(each[:, 1:] for each in joined))

    def kernel(self, x: Tensor) -> Kernel:
        """Return the same over all steps at once."""

        def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            y, joined = self._read(x, state)
            if lengths is None:
                return y, WindowState(*(each[:, -self.window :] for each in joined))
            last = lengths.unsqueeze(1) + torch.arange(self.window, device=x.device)
            rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
            return y, WindowState(*(each[rows, last] for each in joined))

        return Kernel("attention over windows", run)

    def _read(self, x: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        """Return the outputs `(B, T, O)`, and the window with all inputs behind it."""
        T, W = x.shape[1], self.window
        memory = torch.cat([state[0], x], dim=1)
        filled = torch.cat([state[1], torch.ones_like(x[:, :, 0])], dim=1)
        keys = F.linear(memory[:, :-1], self.weight_memory)
        query = F.linear(x, self.weight_query)
        # Products of a block give the others 0 times what one window reads: what is not finite
        # goes by the scores.
        spoilt = (0 * memory.detach()).sum(2)
        if T == 1:
            e = (torch.tanh(keys + query) @ self.score + spoilt[:, :-1]).unsqueeze(1)
        else:  # one place of all windows after the other, as each stays in the cache
            places = [torch.tanh(keys.narrow(1, w, T) + query) @ self.score for w in range(W)]
            e = torch.stack(places, dim=2) + spoilt[:, :-1].unfold(1, W, 1).contiguous()
        there = filled[:, :-1].unfold(1, W, 1).contiguous() > 0.5
        # An empty window has no weights: of none of it is anything read.
        a = torch.softmax(e.masked_fill(~there, torch.finfo(e.dtype).min), dim=2) * there
        finite = torch.nan_to_num(memory, 0.0, 0.0, 0.0)
        if torch.compiler.is_compiling():  # how many blocks there are, a graph would depend on
            read = torch.einsum("btw,btow->bto", a, finite[:, :-1].unfold(1, W, 1))
        else:
            starts = range(0, T, BLOCK)
            blocks = [_read_block(a[:, s : s + BLOCK], finite[:, s:-1]) for s in starts]
            read = torch.cat(blocks, dim=1)
        y = torch.tanh(F.linear(read, self.weight_read) + F.linear(x, self.weight_out))
        return y.to(x.dtype), WindowState(memory, filled)


def _read_block(weights: Tensor, memory: Tensor) -> Tensor:
    """Return, for each of L rows of `weights (B, L, W)`, so much of W vectors from its own on."""
    B, L, W = weights.shape
    # Each row of weights stands one further to the right: a band of L by W + L - 1.
    band = F.pad(weights, (0, L)).flatten(1)[:, :-L].view(B, L, W + L - 1)
    return band @ memory[:, : W + L - 1]


class Attention(Wrapper):
    """A recurrence that reads, by content, its own last W outputs.

        f_t, s' = f(x_t, s)
        e_j = v . tanh(W_m m_j + W_q f_t)        m_j: the last W outputs before f_t
        r = sum_j softmax(e)_j m_j               0 where there are none yet
        y_t = tanh(W_r r + W_y f_t)

    What is read does not go back into the wrapped recurrence, so that one runs on the kernel
    it always runs on, and all the windows of a sequence are read at once. Resets empty the
    window.

    Shapes: `x (B, I)`, output `(B, O)`; state: that of the wrapped recurrence, and
        `memory (B, W, O)`, `filled (B, W)`; v `(A,)`, W_m and W_q `(A, O)`, W_r and W_y
        `(O, O)`.

    Args:
        cell: what is wrapped.
        size: A, units that score; as many as outputs by default.
        window: W, outputs remembered, at least 1.

    Raises:
        ConfigError: for a size or window below 1.

    Source: Daniluk et al. 2017, "Frustratingly short attention spans in neural language
        modeling", equations 1 to 5; the form of e from Bahdanau et al. 2015.

    Differs: from Cheng et al. 2016, "Long short-term memory-networks", and Graves et al. 2014,
        "Neural Turing machines", where what is read enters the next step.

    Example:
        >>> from recurra.nn.cells.lstm import LSTMCell
        >>> from recurra.nn.unroll import unroll
        >>> cell = Attention(LSTMCell(3, 5), window=4)
        >>> y, state = unroll(cell, torch.zeros(2, 7, 3))
        >>> y.shape, state.window.memory.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 4, 5]))
    """

    state_type = AttentionState

    def __init__(self, cell: Recurrence, size: int | None = None, window: int = 15) -> None:
        if not all(isinstance(n, int) and n >= 1 for n in (window, 1 if size is None else size)):
            raise ConfigError(
                "Attention: size and window are whole numbers of at least 1, got "
                f"size={size}, window={window}"
            )
        super().__init__([cell])
        O = cell.output_size  # noqa: E741
        self.cells.append(WindowAttention(O, size or O, window))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters of the attention, and no others.

        Args:
            generator: where the numbers come from.
        """
        attention = self.cells[1]
        assert isinstance(attention, WindowAttention)
        attention.reset_parameters(generator)

    def owners(self) -> tuple[int, int]:
        """Return that the state is that of the wrapped recurrence, and of the window."""
        return 0, 1

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        """Return what attention makes of the wrapped recurrence's outputs, and both states."""
        y, cell = run(self.inner(0), x, state[0])
        y, window = run(self.inner(1), y, state[1])
        return y, AttentionState(cell, window)
