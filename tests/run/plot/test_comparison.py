"""Several runs in one picture: their minutes, their names, and that these can be read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from recurra.run.plot import comparison
from recurra.run.plot.comparison import Curve, curve
from recurra.storage.picture import canvas

RECORDS = [
    {"step": 1, "epoch": 0.5, "loss": 5.0},
    {"step": 10, "epoch": 1.0, "valid": {"perplexity": 300.0, "bits_per_char": 1.5}},
    {"step": 20, "epoch": 2.5, "valid": {"perplexity": None}},
    {"step": 40, "epoch": 4.0, "valid": {"perplexity": 100.0, "bits_per_char": 1.2}},
]
REPORT = {"epochs": 4.0, "train_seconds": 480.0}


def draw(figure, curves, baselines=(), metric="perplexity", better="lower"):
    comparison.draw(figure, curves, baselines, metric=metric, better=better)
    return figure.axes[0]


def labels(axes):
    return {each.get_text(): each for each in axes.texts}


def test_a_validation_stands_at_its_share_of_the_training_time():
    found = curve("mine", RECORDS, REPORT, "perplexity")
    assert found == Curve("mine", ((2.0, 300.0), (8.0, 100.0)), None)
    assert curve("mine", RECORDS, REPORT, "bits_per_char").points == ((2.0, 1.5), (8.0, 1.2))
    mixed = REPORT | {"mixture": {"valid": {"perplexity": 80.0}, "test": None}}
    assert curve("mine", RECORDS, mixed, "perplexity").mixture == 80.0
    assert curve("mine", [], REPORT | {"epochs": 0.0}, "perplexity").points == ()


def test_each_run_has_a_line_that_is_named(figure):
    curves = [
        Curve("first", ((1.0, 300.0), (4.0, 100.0)), 80.0),
        Curve("second", ((2.0, 200.0), (8.0, 90.0))),
    ]
    axes = draw(figure, curves, [("kn5", 141.2)])
    drawn = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert [[1.0, 300.0], [4.0, 100.0]] in drawn and [[2.0, 200.0], [8.0, 90.0]] in drawn
    assert [[4.0, 80.0]] in drawn
    assert [y for line in drawn for _, y in line].count(141.2) == 2
    assert set(labels(axes)) == {"first 100.0", "first, mixture 80.0", "second 90.0", "kn5 141.2"}
    first, second = (labels(axes)[name].get_color() for name in ("first 100.0", "second 90.0"))
    assert first != second == axes.get_lines()[-1].get_color()
    assert axes.get_yscale() == "log" and axes.get_xlim()[0] == 0
    assert axes.get_title(loc="center") == "Validation perplexity by minutes of training"


def test_seeds_share_a_colour_and_a_label(figure):
    curves = [Curve("tied", ((1.0, 150.0), (2.0, end)), end - 10) for end in (99.0, 100.0, 101.0)]
    axes = draw(figure, curves)
    assert set(labels(axes)) == {"tied 100.0 ± 1.0, 3 seeds", "tied, mixture 90.0 ± 1.0, 3 seeds"}
    assert len({line.get_color() for line in axes.get_lines()}) == 1


def test_the_wild_beginning_does_not_flatten_the_rest(figure):
    axes = draw(figure, [Curve("mine", ((0.1, 9000.0), (1.0, 200.0), (2.0, 100.0)))])
    low, high = axes.get_ylim()
    assert low < 100 and 600 <= high < 900


def test_close_values_and_shares_have_a_plain_axis(figure):
    axes = draw(
        figure, [Curve("a", ((1.0, 0.8), (2.0, 0.9)))], [("majority", 0.3)], "accuracy", "higher"
    )
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < 0.3 and axes.get_ylim()[1] > 0.9
    assert axes.get_ylabel() == "accuracy"


@pytest.mark.parametrize("curves", [[], [Curve("none", ())], [Curve("one", ((0.1, 148.0),))]])
def test_little_to_draw_is_drawn(figure, curves):
    draw(figure, curves)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted))
def test_labels_are_apart_and_in_order(heights):
    shown = comparison._apart(heights)
    assert len(shown) == len(heights)
    for below, above in itertools.pairwise(shown):
        assert above - below >= comparison._GAP - 1e-9
    if all(b - a > comparison._GAP for a, b in itertools.pairwise(heights)):
        assert shown == pytest.approx(heights)


def test_no_label_covers_another(figure):
    curves = [Curve(f"run-{n}", ((1.0, 200.0 - n), (2.0, 100.0 + n / 50))) for n in range(9)]
    axes = draw(figure, curves, [("kn5", 100.1), ("kn5_cache", 100.05)])
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the little lines
    boxes.sort(key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_a_file_is_written(tmp_path, picture):
    curves = [Curve("mine", ((1.0, 200.0), (2.0, 100.0)))]
    with canvas(tmp_path / "c.png", 10, 5.4) as figure:
        comparison.draw(figure, curves, [], metric="perplexity", better="lower")
    pixels = picture("c.png")
    assert pixels.shape[1] == 1500
    blue = (abs(pixels - [0x1F, 0x5A, 0x96]).sum(axis=2) < 30).sum()
    assert blue > 1_000
