"""Compiled loops over time in which no channel reads another, as operators of torch.

B rows, T steps, C channels. A channel of a row is a sequence by itself, so the threads share the
rows out, and the channels where rows are few; each runs its own over all of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import Compiled, compiled, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.operator import (
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)

__all__ = ["ChannelLoop", "clear", "unit_of"]

WORTH_A_THREAD = 2**14
"""Steps of single channels that take longer than waking a thread: some 10 microseconds."""

Gradients = tuple[list[Tensor], Tensor, Tensor]
Plain = Callable[[list[Tensor], Tensor, Tensor, float], tuple[Tensor, Tensor]]


class ChannelLoop:
    """A loop over time and its gradient, known to torch as `recurra::NAME`, to be called.

    What is compiled is called with arrays and the units `start` to `end` of its own:

        forward(*sequences, weights, state, lengths, option, y, end, blocks, start, stop)
        backward(*sequences, weights, state, lengths, option, y, d_y, d_state, *d_sequences,
                 d_weights, blocks, start, stop)

    A unit is a row and a part of its channels, as `unit_of` says. `end` comes as
    the first state and becomes the last, `d_state` comes as the gradient of the last and becomes
    that of the first; `y` and `d_sequences` come as they are, to be zeros past a row's length;
    `d_weights (B, ...)` comes as zeros, for each row's part. In torch all rows take a step at
    once, of what the sequences hold there:

        plain(parts, weights, state, option) -> output, state

    Args:
        name: of the operator.
        forward: the compiled loop.
        backward: its gradient.
        plain: a step of it in torch, for derivatives of the gradient.
        states: numbers that a channel's state is of; `state` is `(B, states C)` then.
        whole: whether a unit is always a whole row.
    """

    def __init__(
        self,
        name: str,
        forward: Compiled[..., None],
        backward: Compiled[..., None],
        plain: Plain,
        states: int = 1,
        whole: bool = False,
    ) -> None:
        self.plain, self.states, self.whole = plain, states, whole
        self.forward, self.backward = forward, backward
        define = torch.library.custom_op
        self.ahead = define(f"recurra::{name}", self._run, mutates_args=())
        self.back = define(f"recurra::{name}_backward", self._run_back, mutates_args=())
        self.ahead.register_fake(self._like_outputs)
        self.back.register_fake(_like_gradients)
        register_gradient(self.ahead, self._differentiate, self._in_torch)

    def __call__(
        self,
        sequences: list[Tensor],
        weights: Tensor,
        state: Tensor,
        lengths: Tensor | None = None,
        option: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs `(B, T, C)`, zeros past a row's length, and the state there `(B, C)`.

        Args:
            sequences: what is read step by step, each `(B, T, ...)`.
            weights: what is the same at every step.
            state: `(B, C)`, before the first step.
            lengths: `(B,)`; all steps by default.
            option: a number that is the loop's own.
        """
        y, end = self.ahead(sequences, weights, state, lengths, float(option))
        return y, end

    def _run(
        self,
        sequences: list[Tensor],
        weights: Tensor,
        state: Tensor,
        lengths: Tensor | None,
        option: float,
    ) -> tuple[Tensor, Tensor]:
        y, _ = self._like_outputs(sequences, weights, state, lengths, option)
        end = state.clone(memory_format=torch.contiguous_format)
        steps = steps_of_rows(sequences[0].shape, lengths)
        given = map(view, (*sequences, weights, state))
        args = (*given, steps, option, view(y), view(end))
        _share_out(y, self.forward, args, self.whole)
        return y, end

    def _run_back(
        self,
        sequences: list[Tensor],
        weights: Tensor,
        state: Tensor,
        lengths: Tensor | None,
        option: float,
        y: Tensor,
        d_y: Tensor | None,
        d_end: Tensor | None,
    ) -> Gradients:
        d_y = torch.zeros_like(y) if d_y is None else d_y
        d_state = writable(d_end, state)
        d_sequences = [_fresh(sequence) for sequence in sequences]
        d_weights = state.new_zeros(len(state), *weights.shape)
        steps = steps_of_rows(sequences[0].shape, lengths)
        given = map(view, (*sequences, weights, state))
        made = map(view, (y, d_y, d_state, *d_sequences, d_weights))
        _share_out(y, self.backward, (*given, steps, option, *made), self.whole)
        return d_sequences, d_weights.sum(dim=0), d_state

    def _like_outputs(
        self, sequences: list[Tensor], weights: Tensor, state: Tensor, *rest: Any
    ) -> tuple[Tensor, Tensor]:
        B, C = state.shape[0], state.shape[1] // self.states
        return state.new_empty(B, sequences[0].shape[1], C), _fresh(state)

    def _differentiate(self, d: Any, given: Any, made: Any) -> Any:
        return *self.back(*given, *made, *d), None, None

    def _in_torch(self, sequences: list[Tensor], *given: Any) -> tuple[Tensor, Tensor]:
        weights, state, lengths, option = given
        B, T = sequences[0].shape[:2]

        def step(t: int, state: Any) -> Any:
            return self.plain([each[:, t] for each in sequences], weights, state[1], option)

        none = state.new_zeros(B, state.shape[1] // self.states)
        y, (_, end) = steps_in_torch(step, T, (none, state), lengths)
        y = y.transpose(0, 1)
        if lengths is None:
            return y, end
        past = torch.arange(T) >= lengths.unsqueeze(1)
        return y.masked_fill(past.unsqueeze(2), 0), end


def _fresh(like: Tensor) -> Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def _like_gradients(
    sequences: list[Tensor], weights: Tensor, state: Tensor, *rest: Any
) -> Gradients:
    return [_fresh(sequence) for sequence in sequences], _fresh(weights), _fresh(state)


def _unit_of(unit: int, blocks: int, C: int) -> Any:
    row, block = unit // blocks, unit % blocks
    lo, hi = C * block // blocks, C * (block + 1) // blocks
    first, second = slice(lo, hi), slice(C + lo, C + hi)
    return row, (first, second, slice(2 * C + lo, 2 * C + hi), slice(3 * C + lo, 3 * C + hi))


# Within what calls it, so that the compiler sees that the slices leave nothing out.
unit_of = Compiled(_unit_of, forceinline=True)
"""The row of a unit, and where its channels are in what has up to four numbers for each of C."""


@compiled
def clear(sequence: Any, row: int, steps: int, places: Any) -> None:
    """Make zeros of what a sequence has at a unit's channels past its row's length.

    Args:
        sequence: `(B, T, ...)`.
        row: the unit's, and
        steps: that row's length.
        places: of its channels, some of which may lie behind the sequence's.
    """
    for place in places:
        sequence[row, steps:, place] = 0


def _share_out(y: Tensor, loop: Compiled[..., None], args: tuple[Any, ...], whole: bool) -> None:
    """Call `loop(*args, blocks, start, stop)` on as many threads as the work is worth."""
    B, T, C = y.shape
    threads = torch.get_num_threads()
    blocks = threads // math.gcd(B, threads)
    if whole or blocks > C // 16 or B * T * C // threads < WORTH_A_THREAD:
        blocks = 1
    least = -(-WORTH_A_THREAD * blocks // max(1, T * C))
    by_rows(loop, (*args, blocks), B * blocks, least)
