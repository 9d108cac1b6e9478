"""What is under way, as who listens is told of it."""

from __future__ import annotations

import pytest

from recurra.work import Working, heard, worked_on, working


def test_work_within_work_is_told_the_outermost_first():
    told = []
    with heard(lambda now: told.append(" > ".join(map(str, now)))):
        with working("mixing", 2, "parts") as tell:
            for _ in worked_on((n for n in range(2)), "reading"):
                pass
            tell(1)
    assert told == [
        "mixing: 0 of 2 parts",
        "mixing: 0 of 2 parts > reading",
        "mixing: 0 of 2 parts > reading: 1",
        "mixing: 0 of 2 parts > reading: 2",
        "mixing: 0 of 2 parts",
        "mixing: 1 of 2 parts",
        "",
    ]


def test_a_listener_may_end_the_work_and_what_is_under_way_is_forgotten():
    def stop(now: tuple[Working, ...]) -> None:
        if now and now[-1].done == 2:
            raise KeyboardInterrupt

    last: list[tuple[Working, ...]] = []
    done = []
    with heard(lambda now: (last.append(now), stop(now))):
        with pytest.raises(KeyboardInterrupt):
            for item in worked_on("abc", "spelling"):
                done.append(item)
        assert done == ["a", "b"] and last[-1] == ()
        with working("drawing"):
            assert [each.what for each in last[-1]] == ["drawing"]


def test_what_is_left_early_is_over():
    last = []
    with heard(last.append):
        for _ in worked_on(range(5), "counting"):
            break
    assert last[-1] == ()


def test_nobody_need_listen():
    with working("drawing") as tell:
        tell(1)
    assert list(worked_on([1, 2], "counting")) == [1, 2]
