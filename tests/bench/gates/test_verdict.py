"""What a comparison of gates comes to, in words."""

from __future__ import annotations

from recurra.bench.gates.cell import SUMS
from recurra.bench.gates.verdict import NAMES, verdict

TASK = {"steps": 2000, "full_steps": 2000, "baselines": {"kn5": {"perplexity": 70.0}}}


def row(variant, perplexity, deviation=1.0, at="width"):
    return {"variant": variant, "at": at, "perplexity": perplexity, "deviation": deviation}


def test_every_variant_has_a_name_to_read():
    assert list(NAMES) == list(SUMS)


def test_what_costs_most_what_is_better_and_what_is_alike():
    rows = [
        row("whole", 80.0),
        row("no_forget_gate", 100.0),
        row("no_input_gate", 84.0),
        row("coupled", 81.9),
        row("peepholes", 77.9),
        row("no_output_gate", 90.0, at="parameters"),
        row("no_forget_gate", None, at="parameters"),
    ]
    same, equal, rival = verdict(TASK, rows)
    assert same == (
        "at the same width: no forget gate costs most, 25.0% more perplexity than the whole "
        "LSTM's 80.0; worse too: no input gate (5.0%); better than whole: with peepholes; no "
        "difference beyond the spread of seeds: coupled (i = 1 - f)"
    )
    assert equal == (
        "at the same parameters: no forget gate ran away; no output gate costs most, 12.5% more "
        "perplexity than the whole LSTM's 80.0"
    )
    assert rival == "the whole LSTM does not beat kn5 (70.0)"


def test_nothing_is_said_without_the_whole_lstm_or_after_few_steps():
    assert verdict(TASK, [row("coupled", 80.0)]) == []
    assert verdict(TASK, [row("whole", None)]) == []
    short = {**TASK, "steps": 100}
    assert verdict(short, [row("whole", 80.0)]) == ["too short to tell, after 100 of 2,000 steps"]


def test_one_seed_has_no_spread():
    rows = [row("whole", 80.0, None), row("coupled", 80.1, None)]
    assert verdict(TASK, rows)[0].startswith("at the same width: coupled (i = 1 - f) costs most")
