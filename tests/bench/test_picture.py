"""The picture of cells side by side."""

from __future__ import annotations

import pytest

from recurra.bench import picture


def row(cell, task, values, cost):
    metric = "bits_per_char" if task == "characters" else "accuracy"
    seeds = [{"seed": n, "test": None if v is None else {metric: v}} for n, v in enumerate(values)]
    mean = None if None in values else {metric: sum(values) / len(values)}
    return {
        "cell": cell, "task": task, "test": mean, "seeds": seeds, "parameters": 26_000 + len(cell),
        "seconds_per_step": cost, "one_step_microseconds": 1e3 * cost, "kept_bytes": 1e9 * cost,
    }  # fmt: skip


def task(name, metric, better, **baselines):
    rivals = {known: {metric: value} for known, value in baselines.items()}
    return {
        "name": name, "title": f"{name} task: more", "metric": metric, "better": better,
        "baselines": rivals,
    }  # fmt: skip


RESULT = {
    "tasks": [
        task("copying", "accuracy", "higher", memoryless=0.125),
        task("characters", "bits_per_char", "lower", kn5=2.0),
        task("adding", "accuracy", "higher"),
    ],
    "results": [
        row("gru", "copying", [0.5, 0.7], 0.02),
        row("lstm", "copying", [0.9, 0.8], 0.01),
        row("gru", "characters", [2.4, 2.6], 0.02),
        row("lstm", "characters", [2.2, 2.3], 0.03),
        row("wild", "characters", [None, 3.0], 0.04),
    ],
}


def texts(axes):
    return [each.get_text() for each in axes.texts]


def test_a_panel_for_each_task_and_each_cost(figure):
    picture.draw(figure, RESULT)
    copying, characters, *costs = figure.axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in (copying, characters)] == [
        "copying task",
        "characters task",
    ]
    assert [label.get_text() for label in copying.get_yticklabels()] == ["lstm", "gru", "wild"]
    assert copying.get_ylim()[0] > copying.get_ylim()[1]  # the best on top
    points = {
        round(float(line.get_xdata()[0]), 6): float(line.get_ydata()[0])
        for line in copying.get_lines()
        if line.get_marker() == "o"
    }
    assert points == {85.0: 0.0, 60.0: 1.0}
    assert texts(copying) == ["memoryless", "85", "60"]
    assert texts(characters) == ["kn5", "ran away", "2.25", "2.5"]
    assert characters.get_xlabel() == "bits per char, less is better"
    widths = [[bar.get_width() for bar in axes.patches] for axes in costs]
    assert widths[0] == pytest.approx([20.0, 20.0, 40.0])  # ms, the median over tasks
    assert widths[1] == pytest.approx([20.0, 20.0, 40.0])
    assert widths[2] == pytest.approx([20.0, 20.0, 40.0])
    assert "26,003 to 26,004 parameters" in figure.get_suptitle()


def test_a_ring_is_the_figure_at_equal_seconds(figure):
    again = [
        {"cell": "gru", "task": "copying", "test": {"accuracy": 0.8}},
        {"cell": "lstm", "task": "copying", "test": None},
    ]
    picture.draw(figure, {**RESULT, "equal_seconds": again})
    rings = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    assert [line.get_xydata().tolist() for line in rings] == [[[80.0, 1.0]]]
    assert figure.get_suptitle().endswith("best on average first; rings: at equal seconds")


def test_the_best_is_dark(figure):
    picture.draw(figure, RESULT)
    copying = figure.axes[0]
    dots = [line for line in copying.get_lines() if line.get_marker() == "o"]
    assert [line.get_color() for line in dots] == ["C0", "C2"]


def test_one_cell_on_one_task_is_drawn(figure):
    one = {"tasks": RESULT["tasks"], "results": RESULT["results"][:1]}
    picture.draw(figure, one)
    assert len(figure.axes) == 1 + 3
    assert picture.size(one)[1] < picture.size(RESULT)[1]
    assert picture.size(one)[0] == picture.NARROW < picture.size(RESULT)[0]
    assert max(map(len, figure.get_suptitle().splitlines())) <= 9 * picture.NARROW
