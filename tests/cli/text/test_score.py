"""`recurra score`."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra import cli
from recurra.language.models.network import NetworkModel
from recurra.language.use.nbest import read_nbest as read
from recurra.language.use.rescoring import rescore, with_log_probs
from recurra.language.use.scoring import score

TEXT = "The cat sat on a mat.\n\nzebra <unk> cats\r\nthe cat"
LINES = ["The cat sat on a mat.", "", "zebra <unk> cats", "the cat"]


def records(out: str) -> list[Any]:
    return [json.loads(line) for line in out.splitlines()]


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("words", "how"),
    [
        ([], {}),
        (["--context", "document"], {"context": "document"}),
        (["--given", "a cat"], {"given": "a cat"}),
        (["--open-vocabulary"], {"open_vocabulary": True}),
    ],
    ids=["independent", "document", "given", "open"],
)
def test_a_record_a_line(recurra: Any, model: NetworkModel, words: list[str], how: Any) -> None:
    answer = recurra("score", ".", "x.txt", "--json", *words)
    found = records(answer.out)
    assert answer.code == 0 and [each["text"] for each in found] == LINES
    for row, expected in zip(found, score(model, LINES, **how), strict=True):
        assert list(row) == ["text", "log_prob", "perplexity", "tokens"]
        assert row["log_prob"] == pytest.approx(expected.log_prob, abs=1e-5)
        assert row["perplexity"] == pytest.approx(expected.perplexity, rel=1e-5)
        assert [list(token.values())[::2] for token in row["tokens"]] == [
            [token.token, token.oov] for token in expected.tokens
        ]


def test_standard_input_is_scored_as_a_file_is(
    recurra: Any, model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = recurra("score", ".", "x.txt", "--json").out
    give(monkeypatch, b"\xef\xbb\xbf" + TEXT.encode())
    assert recurra("score", "model", "-", "--json").out == expected


def test_txt_gz_and_utf_16_are_scored_as_the_text_itself(
    recurra: Any, model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = recurra("score", ".", "x.txt", "--json").out
    packed = [pack(TEXT.encode()) for pack in (gzip.compress, bz2.compress, lzma.compress)]
    for data in (*packed, TEXT.encode("utf-16"), TEXT.encode("utf-8-sig")):
        Path("y.txt.gz").write_bytes(data)
        assert recurra("score", ".", "y.txt.gz", "--json").out == expected
    for data, said in {
        packed[0]: "standard input is packed by gzip; unpack it first, or give the file itself",
        TEXT.encode("utf-16"): "standard input is UTF-16; convert it first: iconv -f UTF-16",
        TEXT.encode("utf-16-le"): "standard input is UTF-16LE without a byte-order mark",
    }.items():
        give(monkeypatch, data)
        answer = recurra("score", "model", "-", "--json")
        assert (answer.code, answer.out) == (3, "") and said in answer.err


def test_score_two_arpa_two_txt(recurra: Any) -> None:
    Path("two.lm").write_text(
        "\\data\\\nngram 1=4\nngram 2=3\n\n\\1-grams:\n-99 <s> -0.3\n-0.9 </s>\n-0.5 oak -0.2\n"
        "-1.5 <unk>\n\n\\2-grams:\n-0.4 <s> </s> -0.7\n-0.2 <s> oak -0.15\n-0.3 oak </s>\n\n"
        "\\end\\\n"
    )
    Path("two.txt").write_text("oak\n\noak oak\n")
    for context in ("independent", "document"):
        found = records(recurra("score", "two.lm", "two.txt", "--context", context, "--json").out)
        first, empty, third = [
            [token["log_prob"] / math.log(10) for token in row["tokens"]] for row in found
        ]
        assert (first[0], empty[0], third[0]) == pytest.approx((-0.2, -0.4, -0.2))


def test_a_table_to_read_marks_what_is_not_known(recurra: Any, model: NetworkModel) -> None:
    answer = recurra("score", ".", "x.txt")
    rows = answer.out.splitlines()
    assert rows[0].split() == ["perplexity", "log", "prob", "text"]
    first, third = next(score(model, LINES[:1])), rows[3].split(maxsplit=2)
    assert rows[1].split(maxsplit=2) == [
        f"{first.perplexity:.1f}", f"{first.log_prob:.3f}", LINES[0],
    ]  # fmt: skip
    assert third[2] == "[zebra] <unk> cats"
    assert "4 lines, 16 tokens: perplexity" in answer.err


def test_much_that_is_unknown_is_warned_of(recurra: Any, model: NetworkModel) -> None:
    Path("y.txt").write_text("the xyzzy\nplugh cat the\n")
    answer = recurra("score", ".", "y.txt", "--json")
    assert "warning: 2 of 5 tokens are outside the model's vocabulary, 40%" in answer.err
    assert "warning" not in recurra("score", ".", "x.txt", "--json").err


def test_nothing_in_a_text_reaches_the_terminal_raw(recurra: Any, model: NetworkModel) -> None:
    Path("y.txt").write_text("the \x1b[31mcat\x07 sat\n")
    out = recurra("score", ".", "y.txt").out
    assert "\x1b" not in out and "\x07" not in out


def test_a_perplexity_that_overflows_is_null(
    recurra: Any, model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recurra.language.models.network.NetworkModel.log_probs_of_lines",
        lambda self, lines: [torch.full((len(line),), -1e5).double().numpy() for line in lines],
    )
    found = records(recurra("score", ".", "x.txt", "--json").out)
    assert found[0]["perplexity"] is None and math.isfinite(found[0]["log_prob"])
    assert "e+43429" in recurra("score", ".", "x.txt").out


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", 3, "no tokens"),
        (b"the cat\nb\xffd\n", 3, "byte 0xff at offset 9, line 2"),
        (b"the \xe7\x8c", 3, "byte 0xe7 at offset 4, line 1"),
    ],
    ids=["empty", "not UTF-8", "cut short"],
)
def test_what_cannot_be_scored_is_one_line(
    recurra: Any,
    model: NetworkModel,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    code: int,
    said: str,
) -> None:
    Path("y.txt").write_bytes(content)
    give(monkeypatch, content)
    for file in ("y.txt", "-"):
        answer = recurra("score", ".", file, "--json")
        assert (answer.code, answer.err.count("\n")) == (code, 1)
        assert said in answer.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["score", ".", "z.txt"], 2, "z.txt is not there"),
        (["score", "nowhere", "x.txt"], 2, "nowhere is not there"),
        (["score", "x.txt", "x.txt"], 4, "x.txt"),
        (["score", ".", "x.txt", "--context", "line"], 2, "--context"),
        (["score", ".", "x.txt", "--weight", "1"], 2, "need --nbest"),
        (["score", ".", "x.txt", "--nbest", "--context", "document"], 2, "independent"),
        (["score", ".", "x.txt", "--nbest", "--learn", "x.txt", "--weight", "1"], 2, "--learn"),
        (["score", ".", "x.txt", "--nbest"], 3, "x.txt, line 1: expected 'id ||| text ||| score'"),
        (["generate", ".", "--top-k", "0"], 2, "top_k is a whole number from 1, got 0"),
        (["generate", ".", "--temperature", "-1"], 2, "temperature"),
        (["generate", ".", "--tokens", "-1"], 2, "--tokens"),
        (["generate", ".", "--samples", "0"], 2, "--samples"),
        (["generate", ".", "--beam", "2", "--top-p", "0.5"], 2, "top_p is of no use"),
        (["suggest", ".", "--top", "0"], 2, "top is a whole number from 1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_bad_words_are_one_line(
    recurra: Any, model: NetworkModel, words: list[str], code: int, said: str
) -> None:
    answer = recurra(*words)
    assert (answer.code, answer.err.count("\n")) == (code, 1)
    assert said in answer.err


def test_a_reader_that_leaves_is_quiet(
    recurra: Any, model: NetworkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(cli, "_silence_stdout", lambda: None)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Gone(), write_through=True))
    for words in (["score", ".", "x.txt", "--json"], ["generate", "."]):
        assert cli.main(words) == 141
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # the other would complain when closed


# score --nbest

NBEST = [
    "1 ||| the cat sat ||| -3.0",
    "1 ||| the cats on ||| -2.5",
    "2 ||| a mat . ||| 1",
    "2 ||| mat ||| 1.5",
]


def test_hypotheses_come_best_first(recurra: Any, model: NetworkModel) -> None:
    Path("n.txt").write_text("\n".join(NBEST))
    for words, weights in (
        ([], (0.5, 0.0)),
        (["--weight", "2", "--word-penalty", "-1"], (2.0, -1.0)),
    ):
        found = records(recurra("score", ".", "n.txt", "--nbest", *words).out)
        expected = [
            candidate
            for each in with_log_probs(model, read(NBEST))
            for candidate in rescore(each, *weights)
        ]
        assert [each["text"] for each in found] == [each.text for each in expected]
        assert list(found[0]) == ["id", "text", "score", "log_prob", "words", "total"]
        for row, one in zip(found, expected):
            assert row["total"] == pytest.approx(one.total, abs=1e-4)


def test_moses_fairseq_and_kaldi_are_rescored(recurra: Any, model: NetworkModel) -> None:
    Path("moses").write_text(
        "1 ||| the cat ||| LM0= -1 ||| -2.5 ||| 0-0 1-1\n1 ||| a ||| LM0= -1 ||| -3\n"
    )
    Path("fairseq").write_text("S-1\tx\nH-1\t-2.5\tthe cat\nH-1\t-3\ta\n")
    Path("kaldi").write_text("1-1 the cat\n1-2 a\n")
    Path("costs").write_text("1-1 2.5\n1-2 3\n")
    moses = recurra("score", ".", "moses", "--nbest").out
    assert [each["score"] for each in records(moses)].count(-2.5) == 1
    assert recurra("score", ".", "fairseq", "--nbest").out == moses
    assert recurra("score", ".", "kaldi", "--nbest", "--costs", "costs").out == moses
    assert {each["score"] for each in records(recurra("score", ".", "kaldi", "--nbest").out)} == {0}
    answer = recurra("score", ".", "kaldi", "--costs", "costs")
    assert answer.code == 2 and "need --nbest" in answer.err


def test_weights_are_learnt(recurra: Any, model: NetworkModel) -> None:
    likely, unlikely = sorted(
        ("the cat sat", "the cats on"), key=lambda line: -next(score(model, [line])).log_prob
    )
    rows = [
        {"id": "1", "text": unlikely, "score": 1.0, "reference": likely},
        {"id": "1", "text": likely, "score": 0.0, "reference": likely},
    ]
    Path("dev.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answer = recurra("score", ".", "dev.jsonl", "--nbest", "--learn", "dev.jsonl")
    assert "learnt from dev.jsonl: --weight " in answer.err
    assert "word error rate" in answer.err and ", 0.00% with them, 0.00% at the least" in answer.err
    assert records(answer.out)[0]["text"] == likely
