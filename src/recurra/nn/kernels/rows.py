"""Functions of many rows, run over some rows at a time. N rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recurra.errors import ResourceError
from recurra.machine import is_out_of_memory

__all__ = ["by_rows"]


def by_rows(function: Callable[..., Tensor], rows: int, *tensors: Tensor) -> Tensor:
    """Return `function(*tensors)`, computed for some rows at a time.

    Where memory runs out half as many rows are taken at once; the numbers stay the same.

    Shapes: each of the tensors `(N, ...)`; returns `(N, ...)`.

    Args:
        function: of tensors `(n, ...)`, whose results `(n, ...)` do not depend on other rows.
        rows: most rows at once; at least one is taken.
        tensors: what it is a function of, at least one.

    Raises:
        ResourceError: memory does not suffice for a single row.

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", for the trade.

    Example:
        >>> by_rows(lambda x, y: (x * y).sum(1), 2, torch.ones(3, 4), torch.ones(3, 4))
        tensor([4., 4., 4.])
    """
    rows = max(1, rows)
    count = max(1, len(tensors[0]))
    while True:
        try:
            parts = [
                function(*(tensor[start : start + rows] for tensor in tensors))
                for start in range(0, count, rows)
            ]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise ResourceError("out of memory while scoring a single token") from error
            rows = -(-min(rows, count) // 2)
