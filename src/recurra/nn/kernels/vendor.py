"""Whole sequences on the kernels that come with torch: oneDNN, cuDNN and ATen.

B rows, T steps, I inputs, H units, G gates. They know nothing of rows of different lengths,
so padding is made harmless here by an extra input feature, 1 in the padding: for the LSTM, whose
intermediate `c` is never returned, it holds the gates so that `c` stays as it is; for rectified
units, which know no bound, it switches them off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from recurra.nn.kernels.autocast import autocast_dtype
from recurra.nn.kernels.compiler.compiled import served
from recurra.nn.kernels.loops.rnn import rnn_sequence as compiled_sequence
from recurra.nn.kernels.onednn import has_onednn_lstm, onednn_lstm

__all__ = ["gru_sequence", "lstm_sequence", "rnn_sequence", "why_not_compiled"]

SATURATION = 1e4
"""A pre-activation at which the logistic function is exactly 0 or 1 in float32 and float64."""

Weights = Sequence[Tensor]


def lstm_sequence(
    x: Tensor, h: Tensor, c: Tensor, weights: Weights, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a one-layer LSTM over whole sequences; returns the outputs, and `h` and `c` at the end.

    Shapes: `x (B, T, I)`; `h`, `c` `(B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`,
    `(B, H)`. Outputs past a row's length are left as they come.

    Args:
        x: the inputs, finite in the padding too.
        h: hidden state before the first step.
        c: cell state before the first step.
        weights: `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`.
        lengths: steps of each row, at most T; all of them.

    Under autocast the products and the states within the sequence are of its dtype.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate.

    Example:
        >>> weights = [torch.zeros(8, 3), torch.zeros(8, 2), torch.zeros(8), torch.zeros(8)]
        >>> one = torch.ones(1, 2)
        >>> y, h, c = lstm_sequence(torch.ones(1, 4, 3), one, one, weights)
        >>> y.shape, c
        (torch.Size([1, 4, 2]), tensor([[0.0625, 0.0625]]))
    """
    if lengths is not None:
        H = h.shape[1]
        hold = x.new_zeros(4 * H)
        hold[:H], hold[H : 2 * H] = -SATURATION, SATURATION
        x, weights = _with_padding_feature(x, weights, hold, lengths)
    dtype = autocast_dtype(x)
    if weights[0].dtype != dtype:
        weights = [weight.to(dtype) for weight in weights]
    given = x.to(dtype), h.to(dtype), c.to(dtype)
    if has_onednn_lstm(x.device, dtype):
        y, h_end, c_end = onednn_lstm(*given, weights)
    else:
        y, h_end, c_end = _torch_lstm(*given, weights)
    y, h_end, c_end = y.to(x.dtype), h_end.to(x.dtype), c_end.to(x.dtype)
    return y, h_end if lengths is None else _last(y, h, lengths), c_end


def gru_sequence(
    x: Tensor, h: Tensor, weights: Weights, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a one-layer GRU over whole sequences; returns the outputs, and `h` at the end.

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length are left as they come.

    Args:
        x: the inputs, finite in the padding too.
        h: hidden state before the first step.
        weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `bias_ih (3H,)`, `bias_hh (3H,)`.
        lengths: steps of each row, at most T; all of them.

    Source: Cho et al. 2014, with the reset gate after the product as in cuDNN.

    Example:
        >>> weights = [torch.zeros(6, 3), torch.zeros(6, 2), torch.zeros(6), torch.zeros(6)]
        >>> gru_sequence(torch.ones(1, 2, 3), torch.ones(1, 2), weights)[1]
        tensor([[0.2500, 0.2500]])
    """
    return _with_hidden_state(torch.gru, x, h, weights, lengths)


def rnn_sequence(
    x: Tensor, h: Tensor, weights: Weights, nonlinearity: str, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a one-layer Elman network over whole sequences; returns the outputs, and `h` at the end.

    Shapes: `x (B, T, I)`; `h (B, H)`; `lengths (B,)`; returns `(B, T, H)`, `(B, H)`. Outputs
    past a row's length are left as they come.

    Args:
        x: the inputs, finite in the padding too.
        h: hidden state before the first step.
        weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias_ih (H,)`, `bias_hh (H,)`.
        nonlinearity: `"tanh"` or `"relu"`.
        lengths: steps of each row, at most T; all of them.

    Source: Elman 1990, "Finding structure in time".

    Within `torch.compile` our own loop runs in the place of ATen's.

    Example:
        >>> weights = [torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1), torch.zeros(1)]
        >>> rnn_sequence(torch.ones(1, 3, 1), torch.zeros(1, 1), weights, "relu")[0].flatten()
        tensor([1., 2., 3.])
    """
    if torch.compiler.is_compiling() and not served(x):
        # torch's compiler would cut its own loop up step by step.
        own = x.to(weights[0].dtype), h.to(weights[0].dtype), weights
        y, h_end = compiled_sequence(*own, nonlinearity, lengths)
        return y.to(x.dtype), h_end.to(x.dtype)
    if nonlinearity == "tanh":
        return _with_hidden_state(torch.rnn_tanh, x, h, weights, lengths)
    if lengths is not None:
        # Far from what rounding to fewer digits makes infinite, and times 0 not a number.
        off = x.new_full((h.shape[1],), -torch.finfo(x.dtype).max / 4)
        x, weights = _with_padding_feature(x, weights, off, lengths)
    return _with_hidden_state(torch.rnn_relu, x, h, weights, lengths)


def why_not_compiled(x: Tensor) -> str | None:
    """Return why torch's compiler cannot have ATen's loop, where it is at work and that would run.

    It cuts such loops up, so that each number of steps is compiled anew.

    Args:
        x: the sequences, or anything of their device and dtype.

    Source: `torch._inductor`'s decompositions of `aten.gru` and `aten.rnn_tanh`.

    Example:
        >>> why_not_compiled(torch.zeros(1))
    """
    if torch.compiler.is_compiling() and not x.is_cuda and (reason := served(x)):
        return f"ATen's loop is not for torch.compile, and {reason}"
    return None


def _torch_lstm(x: Tensor, h: Tensor, c: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    state, parts = (h.unsqueeze(0), c.unsqueeze(0)), list(weights)
    with torch.autocast(x.device.type, enabled=False), _apart(x):
        y, h_end, c_end = torch.lstm(x, state, parts, True, 1, 0.0, _train(), False, True)
    return y, h_end[0], c_end[0]


def _with_hidden_state(
    kernel: Callable[..., tuple[Tensor, Tensor]],
    x: Tensor,
    h: Tensor,
    weights: Weights,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    # What autocast has narrowed on the way here, the weights are not.
    wide, state = x.to(weights[0].dtype), h.unsqueeze(0).to(weights[0].dtype)
    with torch.autocast(x.device.type, enabled=False), _apart(x):
        y, h_end = kernel(wide, state, list(weights), True, 1, 0.0, _train(), False, True)
    y, h_end = y.to(x.dtype), h_end.to(x.dtype)
    return y, h_end[0] if lengths is None else _last(y, h, lengths)


@contextmanager
def _apart(x: Tensor) -> Iterator[None]:
    """Let cuDNN take weights that do not lie side by side, of which it warns at every call."""
    if not x.is_cuda or torch.compiler.is_compiling():
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single")
        yield


def _train() -> bool:
    """Return what vendors call training mode: cuDNN's backward asks for it."""
    return torch.is_grad_enabled()


def _with_padding_feature(
    x: Tensor, weights: Weights, column: Tensor, lengths: Tensor
) -> tuple[Tensor, Weights]:
    """Return `x` with a feature that is 1 past a row's length, and `column` as its weights."""
    weight_ih, *rest = weights
    padding = torch.arange(x.shape[1], device=x.device) >= lengths.unsqueeze(1)
    x = torch.cat([x, padding.unsqueeze(2).to(x.dtype)], dim=2)
    return x, [torch.cat([weight_ih, column.unsqueeze(1)], dim=1), *rest]


def _last(y: Tensor, h: Tensor, lengths: Tensor) -> Tensor:
    """Return each row's output at its length, and `h` for rows of no step."""
    rows = torch.arange(y.shape[0], device=y.device)
    return torch.where((lengths > 0).unsqueeze(1), y[rows, (lengths - 1).clamp(min=0)], h)
