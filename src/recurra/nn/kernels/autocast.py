"""What `torch.autocast` asks of a kernel that it does not know."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["autocast_dtype"]


def autocast_dtype(like: Tensor) -> torch.dtype:
    """Return the dtype a kernel's matrix products take: autocast's, or that of its input.

    Args:
        like: an input; only float32 is ever narrowed.

    Source: Micikevicius et al. 2018, "Mixed precision training".

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     autocast_dtype(torch.zeros(1)), autocast_dtype(torch.zeros(1).double())
        (torch.bfloat16, torch.float64)
    """
    device = like.device.type
    if like.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return like.dtype
