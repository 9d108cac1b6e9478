"""Compiled loops over time with one product of the hidden state and weights a step, as operators.

T steps, B rows, H units in N heads of D, which do not read each other; L layers within a step,
each with weights of its own, of which the first alone reads the inputs; G sums, M numbers of
memory and K numbers kept to a unit. Steps stand before rows, so that a step's rows lie together.
Each thread takes some of the rows through all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.nn.kernels.compiler.compiled import Compiled, compiled, view
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.operator import (
    register_gradient,
    steps_in_torch,
    steps_of_rows,
    writable,
)
from recurra.nn.kernels.products.matmul import add_product, pack
from recurra.nn.kernels.products.sequence import (
    linear_gradients,
    product_of_rows,
    product_over_rows,
)
from recurra.nn.kernels.vectors import add, copy

__all__ = ["ProductLoop"]

Five = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Plain = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


class ProductLoop:
    """A loop over time and its gradient, known to torch as `recurra::NAME`, to be called.

    What is compiled acts on one head of one row:

        step(kept, before, memory, after, option)
        back(kept, before, d_h, d_memory, d_sums, option)

    `kept (K D,)` comes with the sums in its first G D places and goes as what `back` will read;
    `before (D,)` is the hidden state before the layer, `after (D,)` gets the one behind it;
    `memory (M, D)` is changed in place. `d_h` comes as the gradient of `after` and becomes that
    of `before`, but for what comes through the product; `d_memory` is changed alike, and
    `d_sums (G D,)` is written. In torch all heads of all rows take a step at once:

        plain(sums, before, memory, option) -> after, memory

    with `sums (B, N, G D)`, `before` and `after` `(B, N, D)`, `memory (B, N, M, D)`.

    Args:
        name: of the operator.
        step: the compiled function of sums.
        back: its gradient.
        plain: the same step in torch, for derivatives of the gradient.
        kept: K.
    """

    def __init__(
        self,
        name: str,
        step: Compiled[..., None],
        back: Compiled[..., None],
        plain: Plain,
        kept: int,
    ) -> None:
        self.kept, self.plain = kept, plain
        self.forward, self.backward = _forward_of(step), _backward_of(back)
        define = torch.library.custom_op
        self.ahead = define(f"recurra::{name}", self._run, mutates_args=())
        self.back = define(f"recurra::{name}_backward", self._run_back, mutates_args=())
        self.ahead.register_fake(self._like_outputs)
        self.back.register_fake(_like_gradients)
        register_gradient(self.ahead, self._differentiate, self._in_torch, ends=2)

    def __call__(
        self,
        x: Tensor,
        state: tuple[Tensor, ...],
        of_inputs: tuple[Tensor, Tensor],
        of_state: tuple[Tensor, Tensor | None],
        lengths: Tensor | None = None,
        option: float = 0.0,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return `y (B, T, H)` and the state at each row's length; past it, `y` repeats its last.

        Args:
            x: the inputs, `(B, T, I)`.
            state: before the first step, the hidden state and the memory, each `(B, H)`.
            of_inputs: weight `(N G D, I)` and bias `(N G D,)`, sums of a head side by side.
            of_state: weight `(L, N, G D, D)`, and bias `(L - 1, N, G D)` of the layers behind
                the first.
            lengths: `(B,)`; all steps by default.
            option: a number that is the loop's own.
        """
        weight, bias = of_state
        _, N, GD, D = weight.shape
        bias = weight.new_empty(0, N, GD) if bias is None else bias
        with torch.autocast("cpu", enabled=False):
            h, *memory = (part.reshape(part.shape[0], N, D) for part in state)
            memories = torch.stack(memory, dim=2) if memory else h.new_empty(h.shape[0], N, 0, D)
            given = (x.transpose(0, 1), *of_inputs, h, memories, weight, bias)
            keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
            y, h, memories, _, _ = self.ahead(*given, lengths, float(option), keep)
        end = tuple(part.flatten(1) for part in (h, *memories.unbind(2)))
        return y.flatten(2).transpose(0, 1), end

    def _run(
        self,
        x: Tensor,
        weight_ih: Tensor,
        bias_ih: Tensor,
        h: Tensor,
        memory: Tensor,
        weight: Tensor,
        bias: Tensor,
        lengths: Tensor | None,
        option: float,
        keep: bool,
    ) -> Five:
        """Run the loop over x `(T, B, I)`, from h `(B, N, D)` and memory `(B, N, M, D)`; `keep`
        says whether a gradient will be asked for.
        """
        rest = (lengths, option, keep)
        made = self._like_outputs(x, weight_ih, bias_ih, h, memory, weight, bias, *rest)
        y, end, end_memory, kept, between = made
        end_memory.copy_(memory)
        T, B, I = x.shape  # noqa: E741
        sums = product_of_rows(x.reshape(T * B, I), weight_ih, bias_ih)
        given = (view(sums.view(T, B, *weight.shape[1:3])), view(h), _packed(weight), view(bias))
        arrays = (*given, steps_of_rows((B, T), lengths), option)
        written = [view(tensor) for tensor in (end_memory, kept, between, y)]
        by_rows(self.forward, (*arrays, *written), len(h))
        end.copy_(y[-1])
        return made

    def _run_back(
        self,
        d_y: Tensor | None,
        d_h: Tensor | None,
        d_memory: Tensor | None,
        x: Tensor,
        weight_ih: Tensor,
        h: Tensor,
        memory: Tensor,
        weight: Tensor,
        lengths: Tensor | None,
        option: float,
        made: list[Tensor],
        to_x: bool,
    ) -> list[Tensor]:
        """Run the gradient of the loop, of what it was given and has made; nothing stands for
        that of x unless it is asked for.
        """
        y, kept, between = made
        T, B, N, _ = y.shape
        d_y = torch.zeros_like(y) if d_y is None else d_y
        d_h, d_memory = writable(d_h, h), writable(d_memory, memory)
        d_sums = y.new_empty(len(weight), T, B, N, weight.shape[2])
        given = (view(d_y), view(h), _packed(weight.transpose(2, 3)))
        arrays = (*given, steps_of_rows((B, T), lengths), option)
        written = [view(tensor) for tensor in (y, kept, between, d_h, d_memory, d_sums)]
        by_rows(self.backward, (*arrays, *written), B)

        d_weight = weight.new_empty(weight.shape)
        befores = [torch.cat([h.unsqueeze(0), y[:-1]]), *between]
        for to, d, before in zip(d_weight, d_sums.flatten(1, 2), befores):
            for n in range(N):
                to[n] = product_over_rows(d[:, n], before.flatten(0, 1)[:, n])
        flat = d_sums[0].view(T * B, -1)
        d_x = product_of_rows(flat, weight_ih.t()).view(x.shape) if to_x else x.new_empty(0)
        of_inputs = linear_gradients(flat, x.reshape(T * B, -1))
        return [d_x, *of_inputs, d_h, d_memory, d_weight, d_sums[1:].sum(dim=(1, 2))]

    def _like_outputs(
        self, x: Tensor, weight_ih: Tensor, bias_ih: Tensor, h: Tensor, *rest: Any
    ) -> Five:
        """Return y, both states at the end, what is kept, and what lies between the layers."""
        memory, weight, *_, keep = rest
        (T, B, _), (L, N, _, D) = x.shape, weight.shape
        stored = T if keep else 1
        y, between = x.new_empty(T, B, N, D), x.new_empty(L - 1, stored, B, N, D)
        kept = x.new_empty(L, stored, B, N, self.kept * D)
        return y, h.new_empty(h.shape), memory.new_empty(memory.shape), kept, between

    def _differentiate(self, d: Any, given: Any, made: Any) -> Any:
        x, weight_ih, _, h, memory, weight, _, lengths, option, _ = given
        rest = lengths, option, made, x.requires_grad
        d_x, *found = self.back(*d, x, weight_ih, h, memory, weight, *rest)
        return d_x if x.requires_grad else None, *found, None, None, None

    def _in_torch(self, x: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
        weight_ih, bias_ih, h, memory, weight, bias, lengths, option, _ = given
        L, N, GD, _ = weight.shape
        sums = F.linear(x, weight_ih, bias_ih).view(*x.shape[:2], N, GD)

        def step(t: int, state: Any) -> Any:
            h, memory = state
            for layer in range(L):
                into = bias[layer - 1] if layer else sums[t]
                from_h = torch.einsum("bnd,ngd->bng", h, weight[layer])
                h, memory = self.plain(into + from_h, h, memory, option)
            return h, memory

        y, (h, memory) = steps_in_torch(step, x.shape[0], (h, memory), lengths)
        return y, h, memory


def _like_gradients(
    d_y: Any, d_h: Any, d_memory: Any, x: Tensor, weight_ih: Tensor, *rest: Any
) -> list[Tensor]:
    h, memory, weight = rest[:3]
    L, N, GD, _ = weight.shape
    bias_ih, bias = x.new_empty(weight_ih.shape[0]), x.new_empty(L - 1, N, GD)
    d_x = x.new_empty(x.shape if rest[-1] else 0)
    return [d_x, *(t.new_empty(t.shape) for t in (weight_ih, bias_ih, h, memory, weight, bias))]


def _packed(weight: Tensor) -> np.ndarray[Any, Any]:
    return np.stack([np.stack([pack(head) for head in layer]) for layer in weight])


def _forward_of(step: Compiled[..., None]) -> Compiled[..., None]:
    """Return the loop over time around a step, of which numba makes one function."""

    def forward(
        sums: Any, first: Any, packed: Any, bias: Any, lengths: Any, option: float, memory: Any,
        kept: Any, between: Any, y: Any, start: int, stop: int,
    ) -> None:  # fmt: skip
        T, _, N, GD = sums.shape
        L, stored = kept.shape[:2]
        rows = range(stop - start)
        for t in range(T):
            at = t if stored > 1 else 0
            before = y[t - 1, start:stop] if t else first[start:stop]
            for layer in range(L):
                own = kept[layer, at, start:stop]
                after = between[layer, at, start:stop] if layer < L - 1 else y[t, start:stop]
                for n in range(N):
                    for r in rows:
                        begin = sums[t, start + r, n] if layer == 0 else bias[layer - 1, n]
                        copy(own[r, n], begin)
                    add_product(before[:, n], packed[layer, n], own[:, n, :GD])
                    for r in rows:
                        if t < lengths[start + r]:
                            step(own[r, n], before[r, n], memory[start + r, n], after[r, n], option)
                        else:
                            copy(after[r, n], before[r, n])
                before = after

    return compiled(forward)


def _backward_of(back: Compiled[..., None]) -> Compiled[..., None]:
    """Return the loop over time around the gradient of a step."""

    def backward(
        d_y: Any, first: Any, packed: Any, lengths: Any, option: float, y: Any, kept: Any,
        between: Any, d_h: Any, d_memory: Any, d_sums: Any, start: int, stop: int,
    ) -> None:  # fmt: skip
        L, T, _, N, _ = d_sums.shape
        rows = range(stop - start)
        into = d_h[start:stop]
        for t in range(T - 1, -1, -1):
            for layer in range(L - 1, -1, -1):
                if layer:
                    before = between[layer - 1, t, start:stop]
                else:
                    before = y[t - 1, start:stop] if t else first[start:stop]
                own, d = kept[layer, t, start:stop], d_sums[layer, t, start:stop]
                for n in range(N):
                    for r in rows:
                        if t < lengths[start + r]:
                            if layer == L - 1:
                                add(into[r, n], d_y[t, start + r, n])
                            memory = d_memory[start + r, n]
                            back(own[r, n], before[r, n], into[r, n], memory, d[r, n], option)
                        else:
                            d[r, n] = 0
                    add_product(d[:, n], packed[layer, n], into[:, n])

    return compiled(backward)
