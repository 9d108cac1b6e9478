"""What torch.compile is to leave alone. Imported where it reads along: it brings the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["drawing"]


@torch.compiler.disable(  # type: ignore[no-untyped-call, untyped-decorator]
    reason="generator= is given, from which masks are drawn in training mode, and no graph of "
    "torch takes a torch.Generator: leave fullgraph=True away, or call .eval() first"
)
def drawing(run: Callable[..., Any], *given: Any) -> Any:
    """Run what draws from a torch.Generator, between two graphs.

    Args:
        run: what draws.
        given: its arguments.

    Example:
        >>> drawing(max, 1, 2)
        2
    """
    return run(*given)
