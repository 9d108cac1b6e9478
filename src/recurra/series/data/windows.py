"""Windows: what a network sees of a channel before an origin, scaled by its own level.

Nothing after the origin enters: neither level nor scale, nor what fills a gap.
B rows, L observations seen, H steps ahead, E features seen with each, F known ahead, S static.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.series.data.dataset import Channel
from recurra.series.data.fills import Fill, filled

__all__ = ["Observation", "Scaled", "Scaling", "Window", "Windows"]

FLOOR = 1e-12
"""Least scale, as a share of the values' size: a constant window has none of its own."""


class Window(NamedTuple):
    """What is seen of a stream, and all the state that a forecaster has: a ring of observations.

    The newest stands last; before the first observation all of it is unobserved.
    """

    values: Tensor
    """`(B, L)`; what is not observed is 0."""
    observed: Tensor
    """`(B, L)`, bool."""
    seen: Tensor
    """`(B, L, E)`."""
    known: Tensor
    """`(B, H, F)`, of the steps ahead."""
    static: Tensor
    """`(B, S)`."""
    deviation: Tensor
    """`(B,)`, of the series' training part; NaN where it is not known."""
    variable: Tensor
    """`(B,)`, which of the targets it is."""


class Observation(NamedTuple):
    """One observation of a stream, with what is known beside it.

    Args:
        value: a number or `(B,)`; NaN is a gap.
        seen: its features, `(B, E)`, as `Features` makes them; zeros by default.
        known: those of the steps ahead, `(B, H, F)`; zeros by default.
    """

    value: float | Tensor
    seen: Tensor | None = None
    known: Tensor | None = None


class Scaled(NamedTuple):
    """A window in its own units."""

    values: Tensor
    """`(B, L)`, the centre subtracted, divided by the scale; gaps are filled."""
    centre: Tensor
    """`(B, 1)`."""
    scale: Tensor
    """`(B, 1)`."""
    change: Tensor
    """`(B, 1)`, the mean change over a season within the window, in the same units."""


class Scaling(NamedTuple):
    """How windows are scaled.

    Args:
        season: steps in a season, 1 where there is none.
        residual: what the network corrects: the last season, the last value, or nothing.
        scale: by the window's own deviation, or the series'; or not at all, nor centred.
        logarithm: whether values are replaced by their logarithms.
        fill: what stands where nothing was observed.
        nonnegative: the variables that are never forecast below 0.
    """

    season: int
    residual: Literal["season", "last", "none"]
    scale: Literal["window", "series", "none"] = "window"
    logarithm: bool = False
    fill: Fill = "forward"
    nonnegative: tuple[int, ...] = ()

    def apply(self, window: Window) -> Scaled:
        """Return a window in its own units.

        Args:
            window: what is seen.
        """
        values = window.values.clamp_min(1e-9).log() if self.logarithm else window.values
        values = filled(values, window.observed, self.season, self.fill)
        season = min(self.season, values.shape[1])
        change = self._change(values, season)
        if self.scale == "none":
            one = torch.ones_like(change)
            return Scaled(values, torch.zeros_like(change), one, change)
        last = values[:, -season:]
        if self.residual == "none":
            centre = values.mean(1, keepdim=True)
        else:
            centre = last.mean(1, keepdim=True) if self.residual == "season" else values[:, -1:]
        scale = values.std(1, correction=0, keepdim=True)
        if self.scale == "series":
            given = window.deviation.unsqueeze(1)
            scale = torch.where(given.isnan(), scale, given)
        size = values.abs().mean(1, keepdim=True)
        scale = torch.maximum(scale, FLOOR * size + torch.finfo(torch.float32).tiny)
        return Scaled((values - centre) / scale, centre, scale, change / scale)

    def forward(self, values: Tensor, scaled: Scaled) -> Tensor:
        """Return values `(B, H)` in the units of their window.

        Args:
            values: as they are.
            scaled: their window.
        """
        if self.logarithm:
            values = values.clamp_min(1e-9).log()
        return (values - scaled.centre) / scaled.scale

    def backward(self, values: Tensor, scaled: Scaled) -> Tensor:
        """Return values `(B, H, Q)` of a window as they are without scaling.

        Args:
            values: in the window's units.
            scaled: the window.
        """
        values = scaled.centre.unsqueeze(-1) + scaled.scale.unsqueeze(-1) * values
        return values.exp() if self.logarithm else values

    def bounded(self, quantiles: Tensor, window: Window) -> Tensor:
        """Return quantiles `(B, H, Q)`, none below 0 where the values that are seen cannot be.

        Args:
            quantiles: as values are.
            window: what is seen.
        """
        if not self.nonnegative:
            return quantiles
        bounded = torch.tensor(self.nonnegative, device=quantiles.device)
        held = torch.isin(window.variable, bounded) & (window.values >= 0).all(1)
        return torch.where(held[:, None, None], quantiles.clamp_min(0), quantiles)

    @staticmethod
    def _change(values: Tensor, season: int) -> Tensor:
        lag = season if season < values.shape[1] else 1
        if values.shape[1] == 1:
            return torch.zeros_like(values)
        return (values[:, lag:] - values[:, :-lag]).abs().mean(1, keepdim=True)


class Windows:
    """The channels of a panel side by side, and any windows of them in one look-up.

    Args:
        channels: every variable of every series.
        context: L.
        horizon: H.
        deviations: of each channel's training part; NaN by default.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        context: int,
        horizon: int,
        deviations: NDArray[np.float64] | None = None,
    ) -> None:
        self.context, self.horizon = context, horizon
        values = np.concatenate([one.values for one in channels])
        self.observed = torch.from_numpy(np.isfinite(values))
        self.values = torch.from_numpy(np.nan_to_num(values))
        self.seen = _features([one.seen for one in channels])
        self.known = _features([one.known for one in channels])
        self.static = _features([one.static[None] for one in channels])
        self.variable = torch.tensor([one.variable for one in channels])
        unknown = np.full(len(channels), np.nan)
        self.deviations = torch.from_numpy(unknown if deviations is None else deviations)
        self.lengths = torch.tensor([len(one.values) for one in channels])
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.known_lengths = torch.tensor([len(one.known) for one in channels])
        self.known_starts = self.known_lengths.cumsum(0) - self.known_lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def before(self, rows: Tensor, origins: Tensor) -> Window:
        """Return what is seen before some origins.

        Args:
            rows: `(B,)`, which channels.
            origins: `(B,)`, the first step that is not seen.
        """
        places = origins.unsqueeze(1) + torch.arange(-self.context, 0)
        inside = places >= 0
        flat = self.starts[rows].unsqueeze(1) + places.clamp_min(0)
        observed = self.observed[flat] & inside
        ahead = origins.unsqueeze(1) + torch.arange(self.horizon)
        ahead = torch.minimum(ahead, self.known_lengths[rows].unsqueeze(1) - 1).clamp_min(0)
        return Window(
            values=torch.where(observed, self.values[flat], 0.0),
            observed=observed,
            seen=self.seen[flat] * inside.unsqueeze(-1),
            known=self.known[self.known_starts[rows].unsqueeze(1) + ahead],
            static=self.static[rows],
            deviation=self.deviations[rows],
            variable=self.variable[rows],
        )

    def after(self, rows: Tensor, origins: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `(B, H)` that follow, and which of them are observed.

        Args:
            rows: `(B,)`, which channels.
            origins: `(B,)`, the first step that is wanted.
        """
        places = origins.unsqueeze(1) + torch.arange(self.horizon)
        inside = places < self.lengths[rows].unsqueeze(1)
        last = (self.lengths[rows] - 1).unsqueeze(1)
        flat = self.starts[rows].unsqueeze(1) + torch.minimum(places, last)
        observed = self.observed[flat] & inside
        return torch.where(observed, self.values[flat], 0.0), observed


def _features(parts: list[NDArray[np.float64]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))
