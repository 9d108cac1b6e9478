"""The words that a comparison ends with."""

from __future__ import annotations

from recurra.bench.verdict import ranks, shown, verdict

COPYING = {
    "name": "copying", "title": "copying memory: 5 letters", "metric": "accuracy",
    "better": "higher", "baselines": {"memoryless": {"loss": 0.26, "accuracy": 0.125}},
}  # fmt: skip
TEXT = {
    "name": "characters", "title": "characters of x: 5", "metric": "bits_per_char",
    "better": "lower", "baselines": {"kn5": {"loss": 1.4, "bits_per_char": 2.0}},
}  # fmt: skip


def row(cell, task, value, deviation=None, cost=1.0):
    metric = task["metric"]
    return {
        "cell": cell, "task": task["name"],
        "test": None if value is None else {metric: value},
        "deviation": None if deviation is None else {metric: deviation},
        "seconds_per_step": cost, "one_step_microseconds": cost, "kept_bytes": cost,
    }  # fmt: skip


ROWS = [
    row("a", COPYING, 0.9, 0.02, cost=2.0),
    row("b", COPYING, 0.93, 0.02),
    row("c", COPYING, 0.1, 0.01),
    row("d", COPYING, None),
    row("a", TEXT, 1.9, 0.01, cost=3.0),
    row("b", TEXT, 2.5, 0.01, cost=2.0),
    row("c", TEXT, 2.0, 0.01, cost=2.5),
    row("d", TEXT, 3.0, 0.01),
]


def test_the_verdict():
    assert verdict([COPYING, TEXT], ROWS) == [
        "copying memory: b is best (93.0% ± 2.0%), a as good within the spread of seeds; c and d "
        "do no better than memoryless (12.5%)",
        "characters of x: a is best (1.900 ± 0.010); c, b and d do no better than kn5 (2.000)",
        "mean rank over 2 tasks: a 1.5, b 2.0, c 2.5, d 4.0",
        "d takes the shortest training step, d the shortest single step, d keeps least for the "
        "backward pass",
    ]


def test_all_none_and_one():
    (said,) = verdict([COPYING], [row("a", COPYING, 0.99)])
    assert said == "copying memory: a is best (99.0%, one seed); all beat memoryless (12.5%)"
    (said,) = verdict([TEXT], [row("a", TEXT, 4.0)])
    assert said == "characters of x: a is best (4.000, one seed); none is better than kn5 (2.000)"
    (said,) = verdict([TEXT], [row("a", TEXT, None)])
    assert said == "characters of x: every training ran away"
    assert verdict([TEXT], []) == []


def test_a_few_steps_are_too_short_to_tell():
    short = {**COPYING, "steps": 5, "full_steps": 3000}
    rows = [row("lstm", short, 0.0, 0.0), row("gru", short, 0.0, 0.0)]
    said, _ = verdict([short], rows)
    assert said == "copying memory: too short to tell, after 5 of 3,000 steps"
    assert not any("rank" in line for line in verdict([short, TEXT], [*rows, *ROWS[4:]]))
    assert "is best" in verdict([{**short, "steps": 300}], rows)[0]


def test_one_seed_has_no_spread():
    rows = [row("a", COPYING, 0.9), row("b", COPYING, 0.9)]
    said, _ = verdict([COPYING], rows)
    assert "a is best (90.0%, one seed), b as good;" in said and "spread" not in said


def test_equals_share_a_rank_and_the_unfinished_have_none():
    rows = [row(cell, COPYING, value) for cell, value in (("a", 0.5), ("b", 0.5), ("c", 0.4))]
    assert ranks([COPYING], rows) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert ranks([COPYING, TEXT], rows) == {}


def test_both_orders_are_told_where_they_differ():
    tasks, rows = [COPYING, TEXT], [*ROWS[:3], *ROWS[4:7]]
    again = [
        row("a", COPYING, 0.9, 0.02),
        row("b", COPYING, 0.89, 0.02),
        row("c", COPYING, 0.1, 0.01),
        row("a", TEXT, 1.9, 0.01),
        row("b", TEXT, 2.5, 0.01),
        row("c", TEXT, 2.0, 0.01),
    ]
    lines = verdict(tasks, rows, again)
    assert lines[2:6] == [
        "mean rank over 2 tasks: a 1.5, b 2.0, c 2.5",
        "copying memory: at equal seconds a, b, c (a and b as good); at equal steps b, a, c",
        "the order is the same at equal seconds: characters of x",
        "mean rank over 2 tasks at equal seconds: a 1.0, b 2.5, c 2.5",
    ]
    # a task without a second table has no second order, nor one that is too short to tell
    lines = verdict(tasks, rows, again[:3])
    assert sum("equal seconds" in line for line in lines) == 1
    short = {**COPYING, "steps": 5, "full_steps": 3000}
    assert not any("equal seconds" in line for line in verdict([short], rows[:3], again[:3]))


def test_it_is_said_in_how_many_cases_the_best_rate_is_inside():
    rows = [
        {**each, "edge": edge, "as_good": alike}
        for each, edge, alike in zip(
            ROWS, (None, "the limit", None), ([0.01], [], [0.001, 0.01]), strict=False
        )
    ]
    said = (
        "the best rate is inside those tried in 2 of 3 cases, and not told from the next one in 2"
    )
    assert said in verdict([COPYING], rows)
    plain = [{**each, "as_good": []} for each in rows]
    assert "the best rate is inside those tried in 2 of 3 cases" in verdict([COPYING], plain)
    assert not any("inside" in line for line in verdict([COPYING], ROWS[:3]))


def test_figures():
    assert shown(COPYING, 0.12345) == "12.3%" and shown(TEXT, 2.34567) == "2.346"
    assert shown(TEXT, None) == "ran away"
