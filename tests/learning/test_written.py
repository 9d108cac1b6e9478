"""What is written, as values: counts, and several by commas."""

from __future__ import annotations

import pytest

from recurra.errors import ConfigError
from recurra.learning.written import count_of, pieces


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500k", 500_000),
        ("1.2M", 1_200_000),
        ("500_000", 500_000),
        ("500,000", 500_000),
        ("26000", 26_000),
        ("1e6", 1_000_000),
        (" 3 m ", 3_000_000),
        ("0.5K", 500),
        ("1", 1),
    ],
)
def test_a_count_is_read(text, count):
    assert count_of(text) == count


@pytest.mark.parametrize(
    "text", ["", "k", "-5", "0", "1.2.3", "five", "1e400", "1e15", "nan", "5x"]
)
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ConfigError, match="expected a number of parameters"):
        count_of(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gru", ["gru"]),
        ("gru,lstm", ["gru", "lstm"]),
        (" gru , lstm ", ["gru", "lstm"]),
        ("mlstm(num_heads=4,x=1),gru", ["mlstm(num_heads=4,x=1)", "gru"]),
        ("f(a,(b,c)),g", ["f(a,(b,c))", "g"]),
        ('{"a":1,"b":2}', ['{"a":1,"b":2}']),
        ('"a,b",c', ['"a,b"', "c"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        ("don't.txt,b", ["don't.txt", "b"]),
        ("5 in.txt", ["5 in.txt"]),
        ("a)b", ["a)b"]),
        ("", [""]),
    ],
)
def test_commas_divide_but_within_brackets_and_quotes(text, parts):
    assert pieces(text) == parts


@pytest.mark.parametrize("text", ["mlstm(num_heads=4,x", '"a,b', "[a,b"])
def test_a_bracket_that_is_not_closed_is_named(text):
    with pytest.raises(ConfigError, match="is missing"):
        pieces(text)
