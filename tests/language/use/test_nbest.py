"""N-best lists of several tools: read by their content, odd lines named."""

from __future__ import annotations

import itertools

import pytest

from recurra.errors import DataError
from recurra.language.use.nbest import Hypothesis, NBest, read_costs, read_nbest

MOSES = [
    "0 ||| the cat sat ||| LM0= -12.1 TM0= -3.2 WP= -3 ||| -4.5 ||| 0-0 1-1 2-2",
    "0 ||| the cat ran ||| LM0= -11.1 TM0= -4.2 WP= -3 ||| -4.7 ||| 0-0 1-1 2-2 ||| 0=0 1=1",
    "1 ||| a dog |1-2| ran ||| LM0= -9.1 ||| -2.5",
    "1 |||  ||| LM0= -9.1 ||| -1e1",
]
FAIRSEQ = """2024-05-01 10:00:00 | INFO | fairseq_cli.generate | loading
S-3\tdie Katze
T-3\tthe cat .
H-3\t-0.25\tthe c@@ at .
D-3\t-0.25\tthe cat.
P-3\t-0.1 -0.2 -0.3 -0.4
H-3\t-0.5\ta c@@ at .
D-3\t-0.5\ta cat.
P-3\t-0.1 -0.2 -0.3 -1.4
S-0\tleer
H-0\t-2.0\t
D-0\t-2.0\t
P-0\t-2.0
Generate test with beam=2: BLEU4 = 12.3
"""
KALDI = ["talk-a-1 the cat sat", "talk-a-2\tthe cat  ran", "talk-a-10", "talk-b-1 dog\r\n"]


def test_both_forms_are_read() -> None:
    text = [
        "7 ||| the cat ||| -3.5",
        "7 ||| the hat ||| lm: -2 tm: 0.5 ||| 1e1",
        "",
        '{"id": "8", "text": "a ||| b", "score": -1, "reference": "a b"}',
        '  {"id": "8", "text": "", "score": 2.5, "more": 1}',
        '{"id": 9, "text": "c", "score": 0}',
    ]
    assert list(read_nbest(text)) == [
        NBest("7", [Hypothesis("the cat", -3.5), Hypothesis("the hat", 10.0)]),
        NBest("8", [Hypothesis("a ||| b", -1.0), Hypothesis("", 2.5)], "a b"),
        NBest("9", [Hypothesis("c", 0.0)]),
    ]


def test_lists_are_read_as_they_come() -> None:
    endless = (f"{n // 2} ||| cat ||| 0" for n in itertools.count())
    assert [each.id for each in itertools.islice(read_nbest(endless), 3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the cat", "dev, line 2: expected 'id ||| text ||| score', got 1 part$"),
        ("7 ||| the cat", "got 2 parts"),
        ("7 ||| a ||| b ||| c ||| d", "the score is 'c'"),
        ("7 ||| the cat ||| high", "dev, line 2: the score is 'high', expected a number"),
        ("7 ||| the cat ||| nan", "the score is 'nan'"),
        ('{"id": "7", "text": "a"', "dev, line 2 is not JSON"),
        ('{"id": "7", "text": "a"}', "dev, line 2: the score is None"),
        ('{"id": "7", "text": "a", "score": true}', "the score is True"),
        ('{"id": "7", "text": "a", "score": [1]}', "the score is"),
        (f'{{"id": "7", "text": "a", "score": 1{"0" * 400}}}', "the score is"),
        ('{"id": "7", "score": 1}', 'expected {"id", "text", "score", "reference"\\?}'),
        ('{"id": true, "text": "a", "score": 1}', "expected"),
        ('{"id": "7", "text": "a", "score": 1, "reference": 3}', "expected"),
        ("[" * 100_000, "got 1 part"),
        ('{"id":' + "[" * 100_000, "dev, line 2 is not JSON"),
    ],
    ids=range(15),
)
def test_what_cannot_be_read_is_named(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(read_nbest(["6 ||| a ||| 1", text], "dev"))


def test_hypotheses_of_an_id_stand_together_and_have_one_reference() -> None:
    with pytest.raises(DataError, match="line 3: the id 'a' was there before"):
        list(read_nbest(["a ||| x ||| 1", "b ||| x ||| 1", "a ||| y ||| 1"]))
    rows = [f'{{"id": "a", "text": "x", "score": 1, "reference": "{r}"}}' for r in "xyx"]
    with pytest.raises(DataError, match="the id 'a' has 2 different references"):
        list(read_nbest(rows))


def test_moses_nbest_with_an_alignment_as_fifth_part() -> None:
    assert list(read_nbest(MOSES)) == [
        NBest("0", [Hypothesis("the cat sat", -4.5), Hypothesis("the cat ran", -4.7)]),
        NBest("1", [Hypothesis("a dog |1-2| ran", -2.5), Hypothesis("", -10.0)]),
    ]


def test_marian_writes_the_alignment_before_the_features() -> None:
    found = read_nbest(["0 ||| a b ||| 0-0 1-1 ||| F0= -1.5 ||| -0.75"])
    assert next(found).hypotheses == [Hypothesis("a b", -0.75)]


def test_fairseq_is_read_with_its_references() -> None:
    assert list(read_nbest(FAIRSEQ.splitlines())) == [
        NBest("3", [Hypothesis("the cat.", -0.25), Hypothesis("a cat.", -0.5)], "the cat ."),
        NBest("0", [Hypothesis("", -2.0)]),
    ]
    pieces = [line for line in FAIRSEQ.splitlines() if line[0] == "H"]
    assert [each.text for each in next(read_nbest(pieces)).hypotheses] == [
        *("the c@@ at .", "a c@@ at .")
    ]


def test_kaldi_is_read_with_its_costs() -> None:
    plain = list(read_nbest(KALDI))
    assert [each.id for each in plain] == ["talk-a", "talk-b"]
    assert [each.text for each in plain[0].hypotheses] == ["the cat sat", "the cat  ran", ""]
    assert {each.score for found in plain for each in found.hypotheses} == {0}
    names = ["talk-a-1", "talk-a-2", "talk-a-10", "talk-b-1"]
    costs = [
        read_costs(f"{name} {n * scale}" for n, name in enumerate(names)) for scale in (1.5, 10)
    ]
    scored = [
        hypothesis.score
        for found in read_nbest(KALDI, costs=costs)
        for hypothesis in found.hypotheses
    ]
    assert scored == [0, -11.5, -23, -34.5]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([*FAIRSEQ.splitlines(), "the cat"], r"list, line 15: expected a letter, .* as 'H-0'"),
        (["H-0\thigh\ta"], "list, line 1: the score is 'high'"),
        (["S-0\ta", "T-0\tb"], "list, line 2: the id '0' has no hypothesis"),
        (["H-0\t-1\ta", "H-0\t-2\tb", "D-0\t-1\ta"], "line 3: sentence 0 has 1 lines of D and 2"),
        (["H-0\t-1\ta", "H-1\t-1\ta", "H-0\t-2\tb"], "line 3: the id '0' was there before"),
        (
            [*KALDI, "the cat sat"],
            "list, line 5: expected an id with a number, as 'id-1', got 'the",
        ),
    ],
    ids=range(6),
)
def test_an_odd_line_is_named(lines: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(read_nbest(lines, "list"))


def test_costs_that_are_none_are_named() -> None:
    for lines, said in {
        ("a-1 2", "a-1 3"): "line 2: expected one hypothesis which is there already",
        ("a-1 2 3",): "line 1: expected one hypothesis with its cost",
        ("", "a-1 high"): "line 2: the score is 'high'",
    }.items():
        with pytest.raises(DataError, match=said):
            read_costs(lines)
    with pytest.raises(DataError, match="line 2: the hypothesis 'talk-a-2' has no cost"):
        list(read_nbest(KALDI, costs=[{"talk-a-1": 1.0}]))


def test_an_empty_list_has_no_lists() -> None:
    assert list(read_nbest(["", " "])) == []
