"""A run that is never read says so, once, where it was asked for; any other says nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings

import pytest

import recurra as rc
from recurra.run.events import told_if_unread

CONFIG = rc.preset("kn1", data="grammar")


@told_if_unread
def count(most):
    try:
        yield from range(most)
    finally:
        closed.append(most)


closed: list[int] = []


def test_dropped_unread_it_warns_of_the_line_that_made_it(tmp_path):
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(UserWarning, match=r"never iterated.* `for event in rc\.train") as said:
        rc.train(CONFIG, out=tmp_path / "run")
    (one,) = said
    assert (one.filename, one.lineno) == (__file__, line)
    assert not (tmp_path / "run").exists()


def test_kept_unread_to_the_end_of_a_program_it_is_seen_on_stderr(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from recurra.run.events import told_if_unread\n"
        "events = told_if_unread(lambda: (each for each in 'ab'))()\n"
    )
    words = [sys.executable, str(program)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert f"{program}:2: UserWarning: rc.train(...) was never iterated" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "use",
    [list, next, lambda events: events.close(), lambda events: next(iter(events))],
    ids=["read", "begun", "closed", "begun as a loop begins"],
)
def test_what_was_read_or_closed_says_nothing(use):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        events = count(3)
        use(events)
        del events


def test_it_is_a_generator_like_the_one_within():
    closed.clear()
    events = count(5)
    assert iter(events) is events and next(events) == 0
    with pytest.raises(KeyError, match="mine"):
        events.throw(KeyError("mine"))
    assert closed == [5] and list(events) == []
    events = count(6)
    next(events)
    events.close()
    assert closed == [5, 6]
    events = count(7)
    next(events)
    del events
    assert closed == [5, 6, 7], "dropped half read, it is closed"


def test_train_is_still_the_function_that_it_was():
    assert list(inspect.signature(rc.train).parameters)[:3] == ["config", "data", "out"]
    assert rc.train.__module__ == "recurra.run.session"
