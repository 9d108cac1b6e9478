"""`recurra bench gates`: text, JSON, file and picture."""

from __future__ import annotations

import json

import pytest

from recurra.bench import trial
from recurra.bench.gates import comparison
from recurra.bench.gates.cell import SUMS
from recurra.bench.gates.verdict import NAMES
from recurra.bench.tasks import words
from recurra.cli.learn import gated

QUICK = ("--steps", "2", "--workers", "0", "--seeds", "1")


@pytest.fixture
def quick(monkeypatch, knows_grammar):
    monkeypatch.setattr(words.Words.__init__, "__defaults__", ("grammar", 10, None))
    monkeypatch.setattr(words, "MOST_HELD_OUT", 1000)
    monkeypatch.setattr(comparison, "HIDDEN", 8)
    monkeypatch.setattr(comparison, "ROUNDS", 1)
    monkeypatch.setattr(trial, "VALIDATIONS", 1)


@pytest.mark.usefixtures("quick")
def test_as_text_with_a_file_and_a_picture(recurra, tmp_path):
    answer = recurra("bench", "gates", *QUICK, "--plot", "seen.png")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("words of grammar: ") and lines[0].endswith("2 steps of 32 x 10")
    assert lines[1].split() == [
        *["same", "width", "more", "params"],
        *["same", "params", "more", "width"],
    ]
    names = [line.partition("  ")[0] for line in lines[2 : 2 + len(SUMS)]]
    assert names == list(NAMES.values())
    assert lines[2 + len(SUMS)].startswith("kn5")
    assert "too short to tell, after 2 of 2,000 steps" in lines
    assert lines[-1] == "bench/gates.json, seen.png" and max(map(len, lines)) <= 100
    kept = json.loads((tmp_path / "bench/gates.json").read_bytes())
    assert kept["finished"] and next(iter(kept)) == "bench"
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
    assert answer.err.startswith("sizing and timing each variant of the LSTM\n")


def row(variant, at, perplexity, deviation=1.0):
    return {
        "variant": variant, "at": at, "width": 64, "parameters": 150_000,
        "perplexity": perplexity, "deviation": deviation,
    }  # fmt: skip


def test_the_table_says_what_is_lost():
    task = {
        "title": "words", "batch_size": 32, "length": 35,
        "baselines": {"kn5": {"perplexity": 70.0}},
    }  # fmt: skip
    rows = [
        row("whole", "width", 80.0),
        row("no_input_gate", "width", 84.0),
        row("no_input_gate", "parameters", 82.0, None),
        row("coupled", "width", None, None),
    ]
    result = {
        "finished": False, "results": rows, "task": task, "steps": 9, "seeds": 2,
        "network": "one layer", "optimizer": "Adam", "verdict": ["a " * 80],
    }  # fmt: skip
    lines = list(gated.lines(result))
    assert lines[0] == "Not finished; what is complete:"
    table = {line.partition("  ")[0]: line.split()[-7:] for line in lines[3:7]}
    assert lines[4].split()[-6:] == ["\u00b1", "1.0", "+5.0%", "150,000", "82.0", "+2.5%"] or (
        "84.0 \u00b1 1.0  +5.0%  150,000" in lines[4] and "82.0  +2.5%     64" in lines[4]
    )
    assert "ran away" in lines[5] and lines[6].split() == ["kn5", "70.0"], table
    assert list(gated.lines({**result, "results": []}))[-1] == "Nothing is complete."


def test_a_training_is_called_by_its_variant():
    (job,) = (each.job(1, 2) for each in [comparison.Variant("coupled", "width", 64, 0)])
    assert gated.variant_of(job.cell) == "coupled (i = 1 - f)"


def test_what_cannot_be_is_refused_before_anything_takes_long(recurra, tmp_path):
    for wrong, said in [
        (("--seeds", "0"), "--seeds is 0, but must be "),
        (("--steps", "1", "--minutes", "1"), "the minutes choose the steps, give one"),
        (("--plot", "gates.pdf"), ".png or .svg"),
    ]:
        answer = recurra("bench", "gates", *wrong)
        assert answer.code == 2 and said in answer.err, answer.err
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/gates.json").write_text("mine")
    answer = recurra("bench", "gates", *QUICK)
    assert answer.code != 0 and "gates.json" in answer.err
    assert (tmp_path / "bench/gates.json").read_text() == "mine"
