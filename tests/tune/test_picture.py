"""A sweep as a picture."""

from __future__ import annotations

import pytest

from recurra.tune.grid import Request, grid
from recurra.tune.picture import draw, size
from recurra.tune.result import compose


def result(assignments, values, metric="log_loss", better="lower", seeds=1):
    sweep = grid(Request("labels", assignments=assignments, seeds=seeds))
    reports = {
        name: {
            "valid": {metric: value},
            "test": None,
            "baselines": {"linear": {metric: 0.5}},
            "judged": {"metric": metric, "better": better},
            "steps": 1,
            "train_seconds": 1.0,
        }
        for name, value in zip(sweep.configs, values)
        if value is not None
    }
    failed = {name: "lost" for name, value in zip(sweep.configs, values) if value is None}
    return compose(sweep, "out", reports, failed)


def test_a_line_a_cell_over_the_rates_that_were_tried(figure):
    told = result(["network.cell=gru,lstm", "train.learning_rate=.001,.01,.1"],
                  [0.4, 0.5, 0.3, 0.6, 90.0, None])  # fmt: skip
    draw(figure, told)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"cell=gru", "cell=lstm"}
    assert axes.get_ylim()[1] == pytest.approx(4 * 0.3)  # what ran away flattens nothing
    assert axes.get_title() == "Validation log loss"
    assert axes.texts[0].get_text() == "linear 0.5"
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[], [0.1]]  # what failed


def test_a_row_a_setting_where_none_is_a_number(figure):
    told = result(["network.cell=gru,lstm,rnn"], [0.4, 0.5, None, 0.6, 0.7, None], seeds=2)
    assert size(told)[1] < 4
    draw(figure, told)
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["cell=gru", "cell=lstm", "cell=rnn"]
    said = [text.get_text() for text in axes.texts]
    assert "failed" in said and "0.5" in said and "0.6" in said  # means of two seeds


def test_what_ran_beyond_all_measure_is_left_out(figure):
    told = result(["train.learning_rate=.001,.01"], [0.4, 1e250])
    draw(figure, told)
    figure.canvas.draw()


def test_seeds_alone_are_drawn(figure):
    draw(figure, result([], [0.4, 0.5, 0.6], seeds=3))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["labels"]
