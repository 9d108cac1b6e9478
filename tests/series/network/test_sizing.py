"""How much is seen, and in what portions, where nobody has said so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError
from recurra.series.data.dataset import Channel, SeriesDataset
from recurra.series.data.windows import Scaling
from recurra.series.network.model import Shape
from recurra.series.network.sizing import SHARE, sized
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.panel import Panel, Series

CHANNEL = Channel(0, 0, np.zeros(9), np.zeros((9, 3)), np.zeros((9, 2)), np.zeros(4))


def dataset_of(*lengths: int, horizon: int, season: int, variables: int = 1) -> SeriesDataset:
    series = [Series(str(n), np.zeros((length, variables))) for n, length in enumerate(lengths)]
    names = tuple(f"y{v}" for v in range(variables))
    options = SeriesOptions(horizon=horizon, season=season)
    return SeriesDataset(Panel(tuple(series), names), options, None)


def size(*lengths: int, horizon: int, season: int, **options: Any) -> tuple[Shape, Scaling]:
    dataset = dataset_of(*lengths, horizon=horizon, season=season)
    return sized(dataset, ForecastOptions(**options), CHANNEL)


@pytest.mark.parametrize(
    ("season", "horizon", "segment"),
    [
        (24, 48, 24),  # a season
        (12, 18, 12),
        (64, 10, 64),
        (96, 96, 48),  # the largest whole part of one that is not too large
        (168, 24, 56),
        (67, 10, 1),  # a prime has none
        (1, 13, 4),  # a third of the horizon
        (1, 1, 1),
    ],
)
def test_a_segment_is_a_season_or_a_whole_part_of_it(
    season: int, horizon: int, segment: int
) -> None:
    assert size(5000, horizon=horizon, season=season)[0].segment == segment


def test_the_context_is_seven_horizons_or_seasons_where_the_series_reach() -> None:
    assert size(5000, horizon=48, season=24)[0].context == 7 * 48
    assert size(5000, horizon=6, season=24)[0].context == 7 * 24
    assert size(5000, horizon=13, season=1)[0].context == 7 * 13 // 4 * 4


def test_the_context_of_short_series_is_a_share_of_what_a_usual_one_learns_from() -> None:
    for lengths in ((100,), (110, 60, 400), (120, 130)):
        shape, _ = size(*lengths, horizon=12, season=12)
        train = np.median([length - 24 for length in lengths])
        assert shape.context == int(SHARE * train) // 12 * 12
    shape, scaling = size(38, horizon=12, season=12)
    assert shape.context == 12
    assert scaling.residual == "season"


@given(
    lengths=st.lists(st.integers(40, 400), min_size=1, max_size=5),
    horizon=st.integers(1, 9),
    season=st.integers(1, 30),
    context=st.one_of(st.none(), st.integers(1, 60)),
    segment=st.one_of(st.none(), st.integers(1, 40)),
)
def test_contexts_are_whole_segments_however_both_are_asked_for(
    lengths: list[int], horizon: int, season: int, context: int | None, segment: int | None
) -> None:
    shape, scaling = size(
        *lengths, horizon=horizon, season=season, context=context, segment=segment
    )
    assert shape.context % shape.segment == 0
    assert shape.horizon == horizon
    if context is not None:
        assert context <= shape.context < context + shape.segment
        assert shape.segment <= context
    if segment is not None and context is not None:
        assert shape.segment == min(segment, context)
    if scaling.residual == "season":
        assert 1 < season <= shape.context
        assert shape.lag == season
    else:
        assert (scaling.residual, shape.lag) == ("last", 1)


@pytest.mark.parametrize(
    ("residual", "season", "expected", "lag"),
    [
        ("auto", 6, "season", 6),
        ("auto", 1, "last", 1),
        ("auto", 40, "last", 1),
        ("last", 6, "last", 1),
        ("none", 6, "none", 0),
        ("season", 6, "season", 6),
    ],
)
def test_what_is_corrected(residual: str, season: int, expected: str, lag: int) -> None:
    shape, scaling = size(200, horizon=5, season=season, context=12, segment=4, residual=residual)
    assert (scaling.residual, shape.lag) == (expected, lag)


def test_a_season_that_is_not_seen_cannot_be_corrected() -> None:
    with pytest.raises(ConfigError, match=r"last 40 steps, but network.context is 12; give a cont"):
        size(200, horizon=5, season=40, context=12, residual="season")


def test_the_rest_follows_from_the_data_and_the_options() -> None:
    dataset = dataset_of(200, horizon=5, season=6, variables=3)
    options = ForecastOptions(scale="series", logarithm=True, context=12)
    shape, scaling = sized(dataset, options, CHANNEL)
    assert (shape.seen, shape.known, shape.static, shape.variables) == (3, 2, 4, 3)
    assert scaling == Scaling(6, "season", "series", True, "season", dataset.nonnegative)
