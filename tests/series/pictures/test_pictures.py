"""Which pictures a forecaster's test has, and that each has something in it."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.series.entry import SERIES
from recurra.series.pictures import pictures, save_fans
from recurra.series.use.evidence import ForecastEvidence, ShownPoints, ShownSeries
from recurra.storage.picture import canvas


def pixels(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((image == color).all(axis=2).sum())


LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


def evidence(horizon: int, points: bool) -> ForecastEvidence:
    fan = np.arange(horizon)[:, None] + np.arange(5.0)
    one = ShownSeries("a", np.arange(30.0), np.arange(float(horizon)), LEVELS, fan)
    return ForecastEvidence(
        series=(one,),
        errors_by_horizon=np.ones(horizon),
        baseline_errors={"naive": np.full(horizon, 2.0)},
        residuals=np.linspace(-1, 1, 50),
        points=ShownPoints(np.arange(9.0), np.arange(9.0) + 1) if points else None,
    )


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (evidence(12, points=False), ["forecast.png", "errors.png"]),
        (evidence(12, points=True), ["forecast.png", "errors.png", "predicted.png"]),
        (evidence(1, points=True), ["errors.png", "predicted.png"]),
    ],
    ids=["forecasts", "forecasts of one series", "one step"],
)
def test_every_evidence_has_its_pictures(tmp_path, picture, given, names):
    drawn = list(pictures(given))
    assert [each.name for each in drawn] == names and set(names) <= {*SERIES.pictures}
    for each in drawn:
        with canvas(tmp_path / each.name, *each.size) as figure:
            each.draw(figure, "mine")
        image = picture(each.name)
        assert 300 < pixels(image, (255, 255, 255)) < image.shape[0] * image.shape[1]


def test_a_fan_has_all_its_parts(tmp_path, picture):
    save_fans(evidence(12, points=False).series, tmp_path / "fan.png", title="mine")
    image = picture("fan.png")
    for color in ((0xDB, 0xE6, 0xF1), (0xB3, 0xCC, 0xE3), (0x1F, 0x5A, 0x96), (0x33, 0x33, 0x33)):
        assert pixels(image, color) > 300
