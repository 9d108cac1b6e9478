"""A forecaster's test as pictures: fans of forecasts, errors by horizon, one step after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from recurra.series.entry import SERIES
from recurra.series.pictures import errors, fans, predicted
from recurra.series.use.evidence import ForecastEvidence, ShownSeries
from recurra.storage.picture import Picture, canvas

__all__ = ["pictures", "save_fans"]


def pictures(evidence: ForecastEvidence) -> Iterator[Picture]:
    """Yield what there is to see of a test.

    Args:
        evidence: what the forecaster did.
    """
    forecast, errors_by_horizon, points = SERIES.pictures
    one_step = evidence.points is not None and len(evidence.errors_by_horizon) == 1
    if evidence.series and not one_step:  # a fan of one step is nothing to see
        size = fans.size(len(evidence.series))
        yield Picture(forecast, size, partial(fans.draw, series=evidence.series))
    yield Picture(errors_by_horizon, (10, 4.4), partial(errors.draw, evidence=evidence))
    if evidence.points is not None:
        yield Picture(points, (10, 5.6), partial(predicted.draw, points=evidence.points))


def save_fans(series: Sequence[ShownSeries], path: Path, *, title: str) -> None:
    """Draw forecasts with their intervals into a PNG or SVG file.

    Args:
        series: six at most are drawn.
        path: the file to write.
        title: what stands above.
    """
    with canvas(path, *fans.size(len(series))) as figure:
        fans.draw(figure, title, series)
