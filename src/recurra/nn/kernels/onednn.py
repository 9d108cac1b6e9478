"""oneDNN's LSTM over whole sequences, to be compiled by torch, and differentiated twice.

B rows, T steps, I inputs, H units. torch's own way to it is cut up step by step by its compiler,
or fails there, and knows no derivative of the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.machine import native_bfloat16
from recurra.nn.kernels.loops.plain import lstm_step
from recurra.nn.kernels.operator import plain_gradients, register_gradient, steps_in_torch

__all__ = ["has_onednn_lstm", "onednn_lstm"]

LSTM = 2
"""What torch calls it among the kinds of networks."""

IS_HERE: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
"""Whether torch was built with oneDNN."""


def has_onednn_lstm(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether oneDNN has an LSTM for such tensors, and is not switched off.

    Args:
        device: where they are.
        dtype: of which kind.

    Source: `use_mkldnn` in torch's RNN.cpp.

    Example:
        >>> has_onednn_lstm(torch.device("cpu"), torch.float64)
        False
    """
    if device.type != "cpu" or not (IS_HERE and torch.backends.mkldnn.enabled):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and native_bfloat16(device))


def onednn_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a one-layer LSTM over whole sequences; returns the outputs, and `h` and `c` at the end.

    Shapes: `x (B, T, I)`; `h`, `c` `(B, H)`; returns `(B, T, H)`, `(B, H)`, `(B, H)`.

    Args:
        x: the inputs, on the processor, float32 or bfloat16 throughout.
        h: hidden state before the first step.
        c: cell state before the first step.
        weights: `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate.

    Example:
        >>> weights = [torch.zeros(8, 3), torch.zeros(8, 2), torch.zeros(8), torch.zeros(8)]
        >>> one = torch.ones(1, 2)
        >>> onednn_lstm(torch.ones(1, 4, 3), one, one, weights)[2]
        tensor([[0.0625, 0.0625]])
    """
    given = (x.transpose(0, 1), h, c, *weights)
    if torch.compiler.is_compiling():
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        y, h, c, *_ = _compiled(*given, keep)
    elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        y, h, c = _Layer.apply(*given)  # type: ignore[no-untyped-call]
    else:
        y, h, c, _ = _run(given, False)
    return y.transpose(0, 1), h, c


def _run(given: Sequence[Tensor], keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return y, h and c at the end, and what oneDNN keeps for the way back, if it is to."""
    x, h, c, *weights = (tensor.detach().contiguous() for tensor in given)
    how: tuple[Any, ...] = (False, [], LSTM, h.shape[1], 1, True, False, False, keep)
    with torch.set_grad_enabled(keep):  # without, nothing is kept
        y, h, c, kept = torch.ops.aten.mkldnn_rnn_layer(x, *weights, h, c, *how)
    return y, h, c, kept


def _run_back(
    given: Sequence[Tensor], made: Sequence[Any], d: Sequence[Tensor | None]
) -> list[Tensor]:
    """Return the gradients of x, h, c and the weights, from those of y, h and c."""
    x, h, c, *weights = (tensor.contiguous() for tensor in given)
    *ends, kept = made
    how: tuple[Any, ...] = (False, LSTM, h.shape[1], 1, True, True, False, [], False, kept)
    d_ends = [torch.zeros_like(end) if each is None else each for each, end in zip(d, ends)]
    back = torch.ops.aten.mkldnn_rnn_layer_backward
    d_x, *d_weights, d_h, d_c = back(x, *weights, h, c, *ends, *d_ends, *how)
    found = [d_x, d_h, d_c, *d_weights]
    return found if x.dtype == torch.float32 else [d.to(x.dtype) for d in found]


class _Layer(torch.autograd.Function):
    """The layer as torch runs it, but for what is differentiated twice."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, h, c, kept = _run(given, True)
        ctx.save_for_backward(*given, y, h, c, kept)
        ctx.set_materialize_grads(False)
        return y, h, c

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: where activations are made again, they are kept for one
        given, made = saved[:7], saved[7:]
        if torch.is_grad_enabled():
            return plain_gradients(_plain, given, d)
        return tuple(_run_back(given, made, d))


@torch.library.custom_op("recurra::lstm_sequence", mutates_args=())
def _compiled(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)
    y, h_end, c_end, kept = _run(given, keep)
    # How long it is nobody can tell ahead, as a graph has to: its first byte has all the storage.
    handle = kept[:1] if keep and kept is not None else x.new_empty(0, dtype=torch.uint8)
    return y, h_end, c_end, c_end.clone(), handle


@torch.library.custom_op("recurra::lstm_sequence_backward", mutates_args=())
def _compiled_back(given: list[Tensor], made: list[Tensor], d: list[Tensor]) -> list[Tensor]:
    y, c_end, handle = made
    kept = torch.empty(0, dtype=torch.uint8).set_(handle.untyped_storage())
    if kept.numel() <= 1:  # someone has copied it: the way back goes forward anew
        return _run_back(given, _run(given, True), d)
    return _run_back(given, (y, y[-1], c_end, kept), d)


@_compiled.register_fake
def _like_outputs(x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    y, ends = x.new_empty(*x.shape[:2], h.shape[1]), (h.new_empty(h.shape), c.new_empty(c.shape))
    return y, *ends, c.new_empty(c.shape), x.new_empty(int(rest[-1]), dtype=torch.uint8)


@_compiled_back.register_fake
def _like_gradients(given: list[Tensor], made: list[Tensor], d: list[Tensor]) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in given]


def _differentiate(d: Any, given: Any, made: Any) -> Any:
    likes = made[0], given[1], given[2]
    whole = [torch.zeros_like(like) if each is None else each for each, like in zip(d, likes)]
    return (*_compiled_back(given[:7], made, whole), None)


def _plain(x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    weight_ih, weight_hh, bias_ih, bias_hh = rest[:4]
    sums, none = F.linear(x, weight_ih, bias_ih), x.new_empty(0)

    def step(t: int, state: Any) -> Any:
        h, c = state
        return lstm_step(sums[t] + F.linear(h, weight_hh, bias_hh), c, none, none, math.inf)

    y, (h, c) = steps_in_torch(step, x.shape[0], (h, c), None)
    return y, h, c


register_gradient(_compiled, _differentiate, _plain, ends=2)
