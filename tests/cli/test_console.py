"""Where the command line writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy
import pytest
import typer

from recurra.cli.console import (
    existing,
    open_console,
    print_json,
    print_lines,
    print_text,
    printable,
    say,
    saying_what_compiles,
    width,
)


def test_json_is_one_value_in_utf_8_without_nan(capfd):
    print_json({"a": math.nan, "b": [math.inf, 1.5, True, None], "c": "café", "d": (1, 2)})
    out, err = capfd.readouterr()
    assert json.loads(out) == {"a": None, "b": [None, 1.5, True, None], "c": "café", "d": [1, 2]}
    assert out.endswith("}\n") and err == ""


def test_json_comes_after_what_was_printed_before(capfd):
    print("before")
    print_json([])
    assert capfd.readouterr().out == "before\n[]\n"


def test_a_message_is_one_line(capfd):
    say("two\n  lines\tand tabs")
    assert capfd.readouterr() == ("", "two lines and tabs\n")


def test_what_compiles_is_said_once_and_what_is_kept_not(capfd, monkeypatch, tmp_path):
    from recurra.nn.kernels.compiler.compiled import Compiled

    def third(x: float) -> float:
        return x / 3

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    with saying_what_compiles():
        for x in (3.0, 3):
            assert Compiled(third)(x) == 1
        with saying_what_compiles():
            assert Compiled(third)(6.0) == 2
    said = "compiling kernels for this processor, once: some seconds\n"
    assert capfd.readouterr() == ("", said)
    Compiled(third)(numpy.float32(3))
    assert capfd.readouterr() == ("", "")


HOSTILE = "\x1b]0;owned\x07cat\x9b31m\x7f\x00\u202egnp\u2066"


def test_what_a_terminal_would_obey_is_shown_through_every_door(capfd):
    safe = "\ufffd]0;owned\ufffdcat\ufffd31m\ufffd\ufffd\ufffdgnp\ufffd"
    assert printable(HOSTILE) == safe and printable("a\nb", "\n") == "a\nb"
    say(HOSTILE)
    assert capfd.readouterr().err == f"{safe}\n"
    for write in (print_text, open_console().print, lambda text: print_lines([text])):
        write(f"{HOSTILE}\ttwo\n")
        assert capfd.readouterr().out.replace(" ", "") in (f"{safe}\ttwo\n\n", f"{safe}two\n\n")
    print_json({HOSTILE: [HOSTILE]})
    out = capfd.readouterr().out
    assert json.loads(out) == {HOSTILE: [HOSTILE]}
    assert not any(sign in out for sign in "\x1b\x07\x9b\x7f\x00\u202e\u2066")


@pytest.mark.parametrize("json", [False, True])
def test_text_goes_to_stderr_when_stdout_is_for_json(capfd, json):
    open_console(json=json).print("a" * 150, ":smile:", 3)
    printed = capfd.readouterr()
    assert printed[json] == f"{'a' * 150} :smile: 3\n"
    assert printed[not json] == ""


@pytest.mark.parametrize("given", [None, "ptb", "mypkg:Mine", "here.txt", Path("here.txt"), "."])
def test_names_and_paths_that_lead_somewhere_pass(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.txt").touch()
    assert existing(given) == given


@pytest.mark.parametrize("given", ["her.txt", "./her.txt", Path("her.txt")])
def test_a_path_that_leads_nowhere_is_answered_with_the_nearest(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.txt").touch()
    with pytest.raises(typer.BadParameter, match=r"is not there\. Did you mean 'here\.txt'"):
        existing(given)
    with pytest.raises(typer.BadParameter, match=r"no/where\.txt is not there\.$"):
        existing("no/where.txt")


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize(
    "words",
    [
        ["presets"],
        ["show", "airline"],
        ["data"],
        ["data", "list"],
        ["data", "show", "iris"],
        ["bench"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_what_is_printed_fits_into_few_columns(recurra, monkeypatch, words, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    told = recurra(*words).out.splitlines()
    commands_and_paths = ("--set", "/")  # stay whole, to be pasted
    long = [line for line in told if len(line) > columns]
    assert not [line for line in long if not any(each in line for each in commands_and_paths)]


def test_at_most_as_many_columns_as_a_terminal_has(monkeypatch):
    monkeypatch.setenv("COLUMNS", "23")
    assert width() == 23
    monkeypatch.setenv("COLUMNS", "many")
    assert width() == 200  # no terminal
