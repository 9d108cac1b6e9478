"""The errors: what they also are, and what the command line ends with."""

from __future__ import annotations

import json
import re

import pytest

from recurra import errors


@pytest.mark.parametrize(
    ("name", "code", "also"),
    [
        ("RecurraError", 1, Exception),
        ("RunError", 1, Exception),
        ("ConfigError", 2, ValueError),
        ("ShapeError", 2, ValueError),
        ("DataError", 3, ValueError),
        ("CheckpointError", 4, RuntimeError),
        ("ResourceError", 5, Exception),
    ],
)
def test_an_error_has_its_exit_code_and_kind(name, code, also):
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, errors.RecurraError) and issubclass(kind, also)
    assert str(kind("what was got")) == "what was got"


def test_none_is_forgotten():
    kinds = {k for k, v in vars(errors).items() if isinstance(v, type)}
    assert len(kinds) == 7


def test_an_error_names_the_line_of_whose_code_it_is():
    def own():
        return {}["nothing"]

    with pytest.raises(KeyError) as caught:
        own()
    place = errors.place_of(caught.value)
    assert re.fullmatch(r".*tests/test_errors\.py:\d+", place)
    assert errors.in_one_line(caught.value) == f"KeyError: 'nothing' ({place})"


def test_an_error_of_a_library_alone_names_no_line():
    error = None
    try:
        json.loads("{")
    except ValueError as caught:
        error = caught.with_traceback(caught.__traceback__.tb_next)
    assert errors.place_of(error) is None
    assert errors.in_one_line(error).startswith("JSONDecodeError: Expecting property name")


def test_a_syntax_error_names_its_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("x = 1\nclass X(:\n")
    with pytest.raises(SyntaxError) as caught:
        compile(path.read_text(), str(path), "exec")
    assert errors.in_one_line(caught.value) == "SyntaxError: invalid syntax (mine.py:2)"


def test_an_error_of_ours_names_the_line_of_whose_code_it_comes_from_once():
    def own():
        raise errors.ShapeError("x has 3 features")

    with pytest.raises(errors.ShapeError) as caught:
        own()
    place = errors.place_of(caught.value)
    assert errors.with_place(caught.value) == f"x has 3 features ({place})"
    with pytest.raises(errors.ShapeError) as again:
        raise errors.ShapeError(errors.with_place(caught.value))
    assert errors.with_place(again.value).count(place) == 1
    assert errors.with_place(errors.DataError("no such file")) == "no such file"
