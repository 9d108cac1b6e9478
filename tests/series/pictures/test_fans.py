"""Fan charts: bands, medians and reality are where the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.series.pictures import fans
from recurra.series.use.evidence import ShownSeries

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
OFFSETS = np.array([-3.0, -2.0, 0.0, 1.0, 4.0])


def shown(name="a", horizon=5, stamps=None, actual=None, history=200) -> ShownSeries:
    median = 100.0 + np.arange(horizon)
    values = np.arange(history) * 0.1
    real = median + 0.5 if actual is None else np.array(actual)
    return ShownSeries(name, values, real, LEVELS, median[:, None] + OFFSETS, stamps)


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def bands(axes) -> dict[str, np.ndarray]:
    return {band.get_label(): band.get_paths()[0].vertices for band in axes.collections}


def test_a_fan_opens_from_the_last_observation(figure):
    fans.draw(figure, "mine", [shown()])
    (axes,) = figure.axes
    found = lines(axes)
    assert found["before"][-1].tolist() == [0, pytest.approx(19.9)]
    assert len(found["before"]) == 48  # the rest of the history would make the fan too small
    assert found["forecast"].tolist()[0] == [0, pytest.approx(19.9)]
    assert found["forecast"].tolist()[1:] == [[k + 1, 100 + k] for k in range(5)]
    assert found["real"].tolist() == [[k + 1, 100.5 + k] for k in range(5)]
    for share, (low, high) in {"95%": (-3, 4), "80%": (-2, 1)}.items():
        edges = bands(axes)[f"{share} interval"]
        last = edges[edges[:, 0] == 5, 1]
        assert (last.min(), last.max()) == (104 + low, 104 + high)


def test_levels_without_these_intervals_have_no_bands(figure):
    one = shown()
    half = ShownSeries("a", one.history, one.actual, (0.25, 0.5, 0.75), one.quantiles[:, 1:4])
    fans.draw(figure, "mine", [half])
    assert bands(figure.axes[0]) == {}
    assert lines(figure.axes[0])["forecast"][-1].tolist() == [5, 104]


def test_what_is_not_known_yet_is_not_drawn(figure):
    fans.draw(figure, "mine", [shown(actual=[np.nan] * 5)])
    assert set(lines(figure.axes[0])) & {"real"} == set()


def test_a_history_shorter_than_the_window_is_drawn_whole(figure):
    fans.draw(figure, "mine", [shown(history=3)])
    assert lines(figure.axes[0])["before"][:, 0].tolist() == [-2, -1, 0]


@pytest.mark.parametrize(("count", "grid"), [(1, 1), (2, 2), (3, 4), (6, 6), (9, 6)])
def test_six_at_most_are_drawn_in_a_grid_with_one_legend(figure, count, grid):
    fans.draw(figure, "m4-hourly", [shown(f"H{n}") for n in range(count)])
    assert len(figure.axes) == grid
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == min(count, 6)
    if count > 1:
        assert [axes.get_title() for axes in visible] == [f"H{n}" for n in range(min(count, 6))]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "95% interval",
        "80% interval",
        "before",
        "forecast",
        "real",
    ]
    title = "m4-hourly: H0" if count == 1 else "m4-hourly"
    assert figure.get_suptitle() == title


def test_more_series_want_more_room():
    heights = [fans.size(count)[1] for count in (2, 4, 6, 99)]
    assert heights == sorted(heights) and heights[2] == heights[3]
    assert fans.size(1)[0] > fans.size(1)[1]


def test_dates_stand_below(figure):
    stamps = np.datetime64("2024-01-30", "ns") + np.arange(205) * np.timedelta64(1, "D")
    fans.draw(figure, "mine", [shown(stamps=stamps)])
    (axes,) = figure.axes
    figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert any(text in ("Jul", "Aug") for text in labels)
    assert axes.get_xlabel() == ""
