"""The products of all steps of a sequence at once, on our own threads.

As one thread takes some of the rows, chunk after chunk, what it multiplies stays in the cache;
the libraries that torch is built with are slower at it on some processors, by half.

N rows, K inputs, M outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from recurra.nn.kernels.compiler.compiled import compiled, view
from recurra.nn.kernels.compiler.team import by_rows, threads_for
from recurra.nn.kernels.products.matmul import PANEL_BYTES, add_product, pack
from recurra.nn.kernels.vectors import copy

__all__ = ["linear_gradients", "product_of_rows", "product_over_rows"]

CHUNK, LONG_CHUNK = 96, 192
"""Rows multiplied, or summed over, at once: multiples of what a block of the product has."""

LEAST = 48
"""Fewest rows that are worth a thread."""


def product_of_rows(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `x weight^T + bias`, as `F.linear` does.

    Shapes: `x (N, K)`, `weight (M, K)`, `bias (M,)`; returns `(N, M)`.

    Args:
        x: on the processor, float32 or float64.
        weight: of its dtype.
        bias: of its dtype; none.

    Source: Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication".

    Example:
        >>> import torch
        >>> product_of_rows(torch.ones(2, 3), torch.ones(4, 3))[0]
        tensor([3., 3., 3., 3.])
    """
    out = x.new_empty(len(x), len(weight))
    start = view(x.new_zeros(len(weight)) if bias is None else bias)
    by_rows(_of_rows, (view(x), pack(weight), start, out.numpy()), len(x), LEAST)
    return out


def product_over_rows(left: Tensor, right: Tensor) -> Tensor:
    """Return `left^T right`, the sum of the outer products of all rows.

    Shapes: `left (N, M)`, `right (N, K)`; returns `(M, K)`.

    Args:
        left: on the processor, float32 or float64.
        right: of its dtype.

    Source: Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication".

    Example:
        >>> import torch
        >>> product_over_rows(torch.ones(2, 3), torch.ones(2, 4))[0]
        tensor([2., 2., 2., 2.])
    """
    return linear_gradients(left, right)[0]


def linear_gradients(d_y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of a linear layer's weight and bias, `d_y^T x` and the sum of `d_y`.

    Shapes: `d_y (N, M)`, `x (N, K)`; returns `(M, K)` and `(M,)`.

    Args:
        d_y: the gradient of what the layer gave, on the processor, float32 or float64.
        x: what it was given, of the same dtype.

    Source: Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication".

    Example:
        >>> import torch
        >>> linear_gradients(torch.ones(2, 3), torch.ones(2, 4))[1]
        tensor([2., 2., 2.])
    """
    M, K = d_y.shape[1], x.shape[1]
    width = PANEL_BYTES // d_y.element_size()
    sums = d_y.new_empty(threads_for(len(d_y), LEAST), K + 1, M).numpy()
    by_rows(_over_rows, (view(d_y), view(x), width, sums), len(sums))
    weight, bias = d_y.new_empty(M, K), d_y.new_empty(M)
    by_rows(_turned_sum, (sums, weight.numpy(), bias.numpy()), M, LEAST)
    return weight, bias


@compiled
def _of_rows(x: Any, packed: Any, bias: Any, out: Any, start: int, end: int) -> None:
    for a in range(start, end, CHUNK):
        b = min(a + CHUNK, end)
        for n in range(a, b):
            copy(out[n], bias)
        add_product(x[a:b], packed, out[a:b])


@compiled
def _over_rows(left: Any, right: Any, width: int, sums: Any, start: int, end: int) -> None:
    """Set `sums[part] (K + 1, M)` to `[right, 1]^T left` over the part of the rows."""
    for part in range(start, end):
        cuts = [len(left) * at // len(sums) for at in (part, part + 1)]
        sums[part] = 0
        _add_over(left[cuts[0] : cuts[1]], right[cuts[0] : cuts[1]], width, sums[part])


@compiled
def _add_over(left: Any, right: Any, width: int, out: Any) -> None:
    """Add `[right, 1]^T left` to `out (K + 1, M)`."""
    N, K = right.shape
    panels = (left.shape[1] + width - 1) // width
    chunks = max(1, (N + LONG_CHUNK - 1) // LONG_CHUNK)
    long = (N + chunks - 1) // chunks
    packed = np.zeros((panels, long, width), left.dtype)
    turned = np.empty((K + 1, long), left.dtype)
    turned[K] = 1
    for a in range(0, N, max(1, long)):
        rows = min(long, N - a)
        if rows < long:
            packed[:] = 0
            turned[:K] = 0
        for n in range(rows):
            for p in range(panels):
                part = left[a + n, p * width : p * width + width]
                copy(packed[p, n, : part.shape[0]], part)
            source = right[a + n]
            for k in range(K):
                turned[k, n] = source[k]
        add_product(turned, packed, out)


@compiled
def _turned_sum(sums: Any, weight: Any, bias: Any, start: int, end: int) -> None:
    """Set rows `start` to `end` of weight and bias to those of the sum of all `(K + 1, M)`."""
    K = weight.shape[1]
    for m in range(start, end):
        row = weight[m]
        for k in range(K):
            row[k] = sums[0, k, m]
        bias[m] = sums[0, K, m]
        for part in range(1, len(sums)):
            for k in range(K):
                row[k] += sums[part, k, m]
            bias[m] += sums[part, K, m]
