"""The picture of an LSTM's gates."""

from __future__ import annotations

import pytest

from recurra.bench.gates import picture


def row(variant, values, at="width"):
    mean = None if None in values else sum(values) / len(values)
    seeds = [
        {"seed": n, "test": None if value is None else {"perplexity": value}}
        for n, value in enumerate(values)
    ]
    return {"variant": variant, "at": at, "perplexity": mean, "seeds": seeds}


RESULT = {
    "seeds": 2,
    "results": [
        row("whole", [80.0, 80.0]),
        row("no_forget_gate", [100.0, 96.0]),
        row("no_forget_gate", [90.0, 86.0], "parameters"),
        row("coupled", [None, 79.0]),
        row("peepholes", [78.0, 76.0]),
    ],
}


def test_bars_are_what_is_lost_the_least_on_top(figure):
    picture.draw(figure, RESULT)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["the LSTM, whole", "with peepholes", "no forget gate", "coupled (i = 1 - f)"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([0.0, 22.5, 10.0, -3.75])
    heights = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    assert heights[1] < 2 < heights[2] and heights[3] == pytest.approx(1)
    dots = [line.get_xdata() for line in axes.get_lines() if line.get_marker() == "o"]
    assert [list(each) for each in dots] == [
        pytest.approx(each) for each in ([0, 0], [25, 20], [12.5, 7.5], [-2.5, -5])
    ]
    said = [text.get_text() for text in axes.texts]
    assert said == ["80.0", "98.0", "88.0", "ran away", "77.0"]
    assert "the whole LSTM's 80.0" in axes.get_xlabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "at the same width", "at the same parameters",
    ]  # fmt: skip


def test_without_the_whole_lstm_the_best_is_in_its_place(figure):
    picture.draw(figure, {**RESULT, "results": RESULT["results"][1:]})
    assert "the best variant's 77.0" in figure.axes[0].get_xlabel()
    assert picture.size(RESULT)[1] > picture.size({"results": RESULT["results"][:1]})[1]


def test_where_all_ran_away_nothing_is_drawn(figure):
    picture.draw(figure, {**RESULT, "results": [row("whole", [None, None])]})
    assert figure.axes == []
