"""The comparison of gates: all alike but for what is left out, and nothing chosen."""

from __future__ import annotations

import statistics

import pytest
from pydantic import ValidationError

from recurra.bench.cells import Compared, Planned, Tried
from recurra.bench.gates import comparison
from recurra.bench.gates.cell import SUMS
from recurra.bench.gates.comparison import GateOptions, compare_gates, variants
from recurra.bench.network import STREAM
from recurra.bench.tasks.adding import Adding
from recurra.bench.trial import Outcome, run
from recurra.errors import ConfigError

SMALL = GateOptions(steps=2, seeds=2, workers=0)


def compared(options, should_stop=lambda: False):
    *events, last = compare_gates(options, should_stop)
    assert isinstance(last, Compared)
    return events, last.result


def test_each_variant_is_as_wide_or_has_as_many_parameters() -> None:
    found = variants(Adding())
    at = {(each.name, each.at): each for each in found}
    assert len(at) == len(found) and [name for name, how in at if how == "width"] == list(SUMS)
    whole = at["whole", "width"]
    for (name, how), each in at.items():
        sums = len(SUMS[name])
        cell = sums * each.width * (STREAM + each.width + 1) + 3 * each.width * (
            name == "peepholes"
        )
        rest = whole.parameters - 4 * 64 * (STREAM + 64 + 1) - 65 * STREAM
        assert each.parameters == cell + (each.width + 1) * STREAM + rest
        if how == "width":
            assert each.width == 64
        else:
            unit = sums * (STREAM + 2 * each.width + 2) + STREAM
            assert abs(each.parameters - whole.parameters) <= unit / 2 + 4
    assert {name for name, how in at if how == "parameters"} == {
        "no_input_gate", "no_forget_gate", "no_output_gate", "coupled",
    }  # fmt: skip


@pytest.mark.usefixtures("quick")
def test_all_train_alike_and_the_last_weights_are_judged() -> None:
    (planned, *tried), result = compared(SMALL)
    assert isinstance(planned, Planned) and planned.share is None
    rows = result["results"]
    assert planned.trials == len(tried) == 2 * len(rows) and result["finished"]
    assert all(isinstance(each, Tried) for each in tried)
    jobs = [each.job for each in tried]
    assert {(job.steps, job.learning_rate, job.keep) for job in jobs} == {
        (2, comparison.RATE, "last")
    }
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert [row["variant"] for row in rows if row["at"] == "width"] == list(SUMS)
    for row in rows:
        values = [each["test"]["perplexity"] for each in row["seeds"]]
        assert [each["seed"] for each in row["seeds"]] == [1, 2]
        assert row["perplexity"] == pytest.approx(statistics.fmean(values))
        assert row["deviation"] == pytest.approx(statistics.stdev(values))
        assert 1 < row["perplexity"] < 150 and row["train_seconds"] > 0
    assert len({row["perplexity"] for row in rows}) == len(rows)
    again = run(jobs[3])
    assert again.test == tried[3].outcome.test
    assert result["task"]["baselines"]["kn5"]["perplexity"] > 1
    assert (result["bench"], result["seeds"], result["steps"]) == ("gates", 2, 2)
    assert result["verdict"] == ["too short to tell, after 2 of 2,000 steps"]


@pytest.mark.usefixtures("quick")
def test_minutes_choose_the_steps_and_stopping_keeps_what_is_finished(monkeypatch) -> None:
    monkeypatch.setattr(comparison, "_seconds_alone", lambda ours, task, seed: [0.01] * len(ours))
    done: list[Tried] = []
    events = compare_gates(GateOptions(minutes=1, seeds=1, workers=2), lambda: True)
    planned, last = list(events)
    each = comparison.OVERHEAD * 0.01 * planned.trials / 2
    assert planned.share * comparison.STEPS == pytest.approx(60 / each, rel=0.1)
    assert planned.seconds == pytest.approx(60, rel=0.1)
    assert (last.result["results"], last.result["finished"]) == ([], False)
    assert last.result["verdict"] == [] and last.result["task"]["baselines"] == {}
    events = compare_gates(SMALL.model_copy(update={"seeds": 1}), lambda: len(done) >= 3)
    for event in events:
        if isinstance(event, Tried):
            done.append(event)
    assert [row["variant"] for row in event.result["results"]] == [
        "whole", "no_input_gate", "no_input_gate",
    ]  # fmt: skip
    full = GateOptions(seeds=1, workers=2)
    planned = next(iter(compare_gates(full, lambda: True)))
    assert planned.share == 1  # never more than all there are


@pytest.mark.usefixtures("quick")
def test_a_training_that_runs_away_is_a_result(monkeypatch) -> None:
    lost = {"no_forget_gate"}

    def outcome(job, should_stop):
        name = job.cell.partition("variant=")[2].rstrip(")")
        metrics = {"loss": 2.0, "perplexity": 8.0 + job.seed}
        return Outcome(None, None, None) if name in lost else Outcome(metrics, metrics, 1.0)

    monkeypatch.setattr("recurra.bench.workers.run", outcome)
    _, result = compared(SMALL)
    rows = {(row["variant"], row["at"]): row for row in result["results"]}
    assert rows["no_forget_gate", "width"]["perplexity"] is None
    assert rows["whole", "width"]["perplexity"] == 9.5


def test_options_that_say_nothing_are_refused() -> None:
    for wrong in ({"steps": 0}, {"seeds": 0}, {"minutes": 0}):
        with pytest.raises(ValidationError):
            GateOptions(**wrong)
    with pytest.raises(ConfigError, match="the minutes choose the steps, give one"):
        list(compare_gates(GateOptions(minutes=1, steps=1)))
