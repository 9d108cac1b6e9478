"""How much of a series a network sees, and in what portions, where nobody has said so."""

from __future__ import annotations

import numpy as np

from recurra.errors import ConfigError
from recurra.series.data.dataset import Channel, SeriesDataset
from recurra.series.data.fills import FILLS
from recurra.series.data.windows import Scaling
from recurra.series.network.model import Shape
from recurra.series.options import ForecastOptions

__all__ = ["sized"]

LARGEST_SEGMENT = 64
CONTEXT = 7
"""Horizons, or seasons where those are longer, that are seen if the series are long enough."""

SHARE = 0.7
"""Most of a usual series' training part that one window takes; shorter series are padded."""


def sized(
    dataset: SeriesDataset, options: ForecastOptions, channel: Channel
) -> tuple[Shape, Scaling]:
    """Return the sizes and the scaling of a network that suits a dataset.

    Args:
        dataset: the series.
        options: what was asked for; the rest follows from season, horizon and lengths.
        channel: any of the dataset's, for the number of its features.

    Raises:
        ConfigError: the residual is a season, but the context is shorter than that.
    """
    season, horizon = dataset.season, dataset.horizon
    segment = options.segment or _segment(season, horizon)
    context = options.context or _context(dataset, segment)
    segment = min(segment, context)
    context = -(-context // segment) * segment
    residual = options.residual
    if residual == "auto":
        residual = "season" if 1 < season <= context else "last"
    if residual == "season" and context < season:
        raise ConfigError(
            f"network.residual=season corrects the last {season} steps, but network.context is "
            f"{context}; give a context of at least a season"
        )
    shape = Shape(
        context,
        segment,
        horizon,
        {"season": season, "last": 1, "none": 0}[residual],
        seen=channel.seen.shape[1],
        known=channel.known.shape[1],
        static=len(channel.static),
        variables=len(dataset.panel.targets),
    )
    fill, nonnegative = FILLS[dataset.options.fill], dataset.nonnegative
    return shape, Scaling(season, residual, options.scale, options.logarithm, fill, nonnegative)


def _segment(season: int, horizon: int) -> int:
    """A season, or a whole part of it; a third of the horizon where there is none."""
    if season == 1:
        return max(1, round(horizon / 3))
    return max(part for part in range(1, LARGEST_SEGMENT + 1) if season % part == 0)


def _context(dataset: SeriesDataset, segment: int) -> int:
    """Several horizons or seasons, as far as most of the series reach."""
    wanted = CONTEXT * max(dataset.horizon, dataset.season)
    room = int(max(dataset.season + 1, SHARE * np.median(np.maximum(dataset.end("train"), 1))))
    return max(segment, min(wanted, room) // segment * segment)
