"""What stands in a window where nothing was observed, from what the window holds alone.

B windows, L observations seen.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["FILLS", "Fill", "filled"]

Fill = Literal["season", "forward", "linear"]
FILLS: dict[str, Fill] = {
    "mask": "season",
    "refuse": "season",
    "forward": "forward",
    "linear": "linear",
}
"""How the gaps of a window are filled, by `data.fill`."""


def filled(values: Tensor, observed: Tensor, season: int = 1, how: Fill = "forward") -> Tensor:
    """Return `(B, L)` without gaps; before the first observation stands what that is.

    Args:
        values: `(B, L)`.
        observed: `(B, L)`, bool.
        season: steps in a season, 1 where there is none.
        how: `"forward"` takes the observation before; `"season"` the one a season before, else a
            season after, else the one before; `"linear"` a line to the observation after, and the
            one before where none is after.

    Example:
        >>> seen = torch.tensor([[False, True, True, True, False]])
        >>> filled(torch.tensor([[0.0, 3.0, 5.0, 4.0, 0.0]]), seen)
        tensor([[3., 3., 5., 4., 4.]])
        >>> filled(torch.tensor([[0.0, 3.0, 5.0, 4.0, 0.0]]), seen, season=2, how="season")
        tensor([[3., 3., 5., 4., 5.]])
    """
    if bool(observed.all()):
        return values
    places = torch.arange(values.shape[1], device=values.device)
    first = observed.to(torch.uint8).argmax(1, keepdim=True)
    if how == "linear":
        return _linear(values, observed, places, first)
    begun = places >= first
    if how == "season" and 1 < season < values.shape[1]:
        seasonal, known = _by_season(values, observed, season)
        values, observed = torch.where(begun, seasonal, values), observed | known & begun
    before = torch.where(observed, places, -1).cummax(1).values
    return values.gather(1, torch.where(before < 0, first, before))


def _by_season(values: Tensor, observed: Tensor, season: int) -> tuple[Tensor, Tensor]:
    """Each gap as the same step of the season before, or after; and where there is one."""
    (B, L), pad = values.shape, -values.shape[1] % season
    by_phase = F.pad(values, (pad, 0)).view(B, (L + pad) // season, season)
    there = F.pad(observed, (pad, 0)).view(by_phase.shape)
    seasons = torch.arange(by_phase.shape[1], device=values.device)[:, None]
    before = torch.where(there, seasons, -1).cummax(1).values
    first = there.to(torch.uint8).argmax(1, keepdim=True)
    found = by_phase.gather(1, torch.where(before < 0, first, before))
    known = there.any(1, keepdim=True).expand_as(there)
    return found.flatten(1)[:, pad:], known.flatten(1)[:, pad:]


def _linear(values: Tensor, observed: Tensor, places: Tensor, first: Tensor) -> Tensor:
    last = len(places) - 1
    before = torch.where(observed, places, -1).cummax(1).values
    after = torch.where(observed, places, last + 1).flip(1).cummin(1).values.flip(1)
    before = torch.where(before < 0, first, before)
    after = torch.where(after > last, before, after)
    low, high = values.gather(1, before), values.gather(1, after)
    share = (places - before).to(values.dtype) / (after - before).clamp_min(1)
    return low + (high - low) * share.clamp(0, 1)
