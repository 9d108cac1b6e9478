"""Loops over the numbers of one row, for the use of compiled ones."""

from __future__ import annotations

from typing import Any

from recurra.nn.kernels.compiler.compiled import compiled

__all__ = ["add", "copy"]


@compiled
def add(to: Any, more: Any) -> None:
    """Add `more` to `to`."""
    for j in range(to.shape[0]):
        to[j] += more[j]


@compiled
def copy(to: Any, v: Any) -> None:
    """Set `to` to `v`."""
    for j in range(to.shape[0]):
        to[j] = v[j]
