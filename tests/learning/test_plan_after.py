"""What there is room for after a training, and what fails without ending it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from recurra.learning.plan import (
    attempted,
    seconds_after,
    seconds_each,
    timed,
    without_room,
)


def test_as_long_again_and_never_less_than_45_seconds():
    assert [seconds_after(minutes) for minutes in (0.01, 0.2, 0.75, 1, 10)] == [45, 45, 45, 60, 600]


def measured(costs: list[tuple[str, float]]) -> list[tuple[str, Callable[[], float]]]:
    return [(name, partial(float, seconds)) for name, seconds in costs]


def test_what_does_not_fit_is_named_and_what_comes_after_it_may_fit():
    costs = [("test", 20.0), ("kn5", 2.0), ("dynamic", 300.0), ("cache", 47.0), ("sample", 1.0)]
    assert without_room(measured(costs), 0.2) == {
        "dynamic": "would take 300 s, 14 s were left",
        "cache": "would take 47 s, 14 s were left",
    }
    assert without_room(measured(costs), 10) == {}
    assert list(without_room(measured(costs), 5)) == ["dynamic"]


def test_a_failure_is_a_line():
    said: dict[str, str] = {}

    def broken() -> int:
        raise ValueError("this\nis wrong " * 50)

    assert attempted("linear", broken, said) is None
    assert said["linear"].startswith("failed with ValueError: this is wrong")
    assert "\n" not in said["linear"] and len(said["linear"]) <= 160
    assert attempted("linear", lambda: 3) == 3
    assert attempted("linear", lambda: 3, said) is None  # named already
    with pytest.raises(KeyboardInterrupt):
        attempted("theta", lambda: (_ for _ in ()).throw(KeyboardInterrupt), said)


def test_a_part_tells_how_long_the_rest_takes():
    asked: list[int] = []

    def work(count: int) -> None:
        asked.append(count)
        time.sleep(count / 2000)

    assert seconds_each(work, most=100_000) == pytest.approx(1 / 2000, rel=0.9)
    assert sum(asked) < 1000
    assert timed(lambda: time.sleep(0.01)) >= 0.01


def test_where_measuring_takes_too_long_the_rest_is_left_out_unmeasured(monkeypatch):
    monkeypatch.setattr("recurra.learning.plan.LEAST_MEASURING", 0.001)

    def slow() -> float:
        time.sleep(0.02)
        return 1.0

    def never() -> float:
        pytest.fail("measured")

    found = without_room([("test", slow), ("kn5", never), ("dynamic", never)], 0.001)
    assert found == dict.fromkeys(
        ["kn5", "dynamic"], "no time was left to measure how long it takes"
    )
