"""What is under way, as it stands in a terminal and in a log."""

from __future__ import annotations

import io
import os
import time

import pytest

from recurra.cli import working as module
from recurra.cli.working import Teller, current_teller
from recurra.work import working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    for name, seconds in (("SOON", 0.0), ("LATER", 0.0), ("EVERY", 60.0), ("_REFRESH", 0.01)):
        monkeypatch.setattr(module, name, seconds)


def shown(monkeypatch, stream: io.StringIO, names=("mixing", "drawing")) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    with Teller().listening():
        for name in names:
            with working(name, 7, "parts") as tell:
                tell(3)
                time.sleep(0.1)
            stream.write("|")
    return stream.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == "mixing: 3 of 7 parts; 0 s\n||"


def test_a_terminal_gets_a_line_that_changes_and_goes(monkeypatch):
    size = os.terminal_size((13, 5))
    monkeypatch.setattr(module.os, "get_terminal_size", lambda stream: size)
    first, second, rest = shown(monkeypatch, Terminal()).split("|")
    assert first.startswith("\r\x1b[2Kmixing: 3 o") and first.endswith("\r\x1b[2K")
    assert second.startswith("\r\x1b[2Kdrawing: 3 ") and rest == ""


def test_what_is_short_says_nothing(monkeypatch):
    monkeypatch.setattr(module, "LATER", 60.0)
    assert shown(monkeypatch, io.StringIO()) == "||"


def test_names_out_of_files_tell_a_terminal_nothing(monkeypatch):
    assert "\x1b" not in shown(monkeypatch, io.StringIO(), ["a\x1b[2Jb"])


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_under_the_log_is_no_matter(monkeypatch):
    monkeypatch.setattr("sys.stderr", Full())
    with Teller().listening(), working("mixing") as tell:
        time.sleep(0.1)
        tell(1)


def test_who_shows_it_elsewhere_is_told_instead(monkeypatch):
    stream, told = io.StringIO(), []
    monkeypatch.setattr("sys.stderr", stream)
    teller = Teller()
    teller.elsewhere = told.append
    with teller.listening():
        assert current_teller() is teller
        with working("validating"):
            assert teller.busy()
            time.sleep(0.05)
    assert stream.getvalue() == "" and not teller.busy()
    assert [[str(each) for each in now] for now in told] == [["validating"], []]
