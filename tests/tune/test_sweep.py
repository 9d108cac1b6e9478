"""A sweep from its settings to its table, stopped and continued."""

from __future__ import annotations

import json

import pytest

from recurra.errors import ConfigError
from recurra.run.directory import RunDirectory
from recurra.run.session import evaluate
from recurra.storage.sources import changed_source_allowed
from recurra.tune import sweep as module
from recurra.tune.grid import Request, grid
from recurra.tune.sweep import Begins, Done, Says, Swept, sweep, worker_count

pytestmark = pytest.mark.usefixtures("in_this_process")

SMALL = (
    "data.dataset=iris", "data.valid_fraction=.2", "network.hidden_size=3", "network.members=1",
    "train.steps=8", "train.save_seconds=0",
)  # fmt: skip


def wanted(*assignments, **others):
    return grid(Request("labels", changes=SMALL, assignments=assignments, **others))


CELLS = ("network.cell=rnn,gru",)


def timeless(value):
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in ("seconds", "sweep", "run")}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def test_every_run_is_an_ordinary_one_and_the_table_is_kept(tmp_path):
    found = wanted(*CELLS, seeds=2)
    *events, swept = sweep(found, tmp_path / "s", workers=1)
    assert events[0] == Begins(0, 4, 1, ())
    assert [event.ended for event in events if isinstance(event, Done)] == [1, 2, 3, 4]
    result = swept.result
    assert (
        result["finished"] and json.loads((tmp_path / "s" / "results.json").read_text()) == result
    )
    for row in result["rows"]:
        for run in row["runs"]:
            report = RunDirectory(run["run"]).report()
            assert run["valid"] == report["valid"]["accuracy"]
            assert run["test"] == evaluate(run["run"])["accuracy"]
            assert RunDirectory(run["run"]).config().threads == 1
    assert (tmp_path / "s" / "results.csv").read_text().startswith("best,network.cell,metric")
    assert (tmp_path / "s" / "results.png").read_bytes().startswith(b"\x89PNG")


def test_stopped_at_any_run_it_ends_with_the_same_table(tmp_path):
    found = wanted(*CELLS, seeds=2)
    whole = list(sweep(found, tmp_path / "whole"))[-1].result
    asked = iter([False] * 11 + [True] * 1000)  # in the second run
    *_, stopped = sweep(found, tmp_path / "cut", should_stop=lambda: next(asked))
    states = [run["state"] for row in stopped.result["rows"] for run in row["runs"]]
    assert not stopped.result["finished"] and 0 < states.count("finished") < 4
    begins, *_, ended = sweep(found, tmp_path / "cut")
    assert begins.finished == states.count("finished")
    assert timeless(ended.result) == timeless(whole)
    again = list(sweep(found, tmp_path / "cut"))
    assert [type(event) for event in again] == [Begins, Swept] and begins.runs == 4


FAILING = """
from recurra.nn.cells.rnn import RNNCell

class Failing(RNNCell):
    def forward(self, x, state):
        raise KeyError("lost")
"""


def test_a_run_that_fails_is_a_row_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps_own.py").write_text(FAILING)
    found = wanted("network.cell=rnn,sweeps_own:Failing")
    *_, swept = sweep(found, tmp_path / "s")
    good, bad = swept.result["rows"]
    assert good["best"] and good["runs"][0]["state"] == "finished"
    assert (bad["valid"], bad["runs"][0]["state"]) == (None, "failed")
    assert bad["runs"][0]["reason"] == "unexpected KeyError: 'lost' (sweeps_own.py:6)"
    assert bad["runs"][0]["run"].endswith("cell=sweeps_own-Failing,seed=1")
    assert swept.result["finished"]


def test_code_that_changed_is_a_reason_unless_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "from recurra.nn.cells.rnn import RNNCell\n\nclass Own(RNNCell):\n    pass\n"
    (tmp_path / "sweeps_changed.py").write_text(code)
    found = wanted("network.cell=sweeps_changed:Own")
    counted = iter(range(100))
    list(sweep(found, tmp_path / "s", should_stop=lambda: next(counted) > 2))
    (run,) = (path for path in (tmp_path / "s").iterdir() if (path / "sources").is_dir())
    assert not (run / "report.json").exists()
    (tmp_path / "sweeps_changed.py").write_text(code + "# another\n")
    *_, swept = sweep(found, tmp_path / "s")
    assert "has changed since" in swept.result["rows"][0]["runs"][0]["reason"]
    with changed_source_allowed():
        *_, swept = sweep(found, tmp_path / "s")
    assert swept.result["rows"][0]["runs"][0]["state"] == "finished"


def test_another_run_in_the_way_is_a_row_too(tmp_path):
    from recurra.run.presets import preset

    found = wanted(*CELLS)
    place = tmp_path / "s" / "cell=rnn,seed=1"
    list(sweep(found, tmp_path / "s"))
    (place / "report.json").unlink()
    RunDirectory(place).write_config(preset("iris"))
    *_, swept = sweep(found, tmp_path / "s")
    assert "holds another run" in swept.result["rows"][0]["runs"][0]["reason"]
    assert RunDirectory(place).config() == preset("iris")


def test_a_restart_discards_what_is_there(tmp_path):
    found = wanted(*CELLS)
    list(sweep(found, tmp_path / "s"))
    reports = [tmp_path / "s" / name / "report.json" for name in found.configs]
    before = [path.stat().st_mtime_ns for path in reports]
    begins, *_ = sweep(found, tmp_path / "s", restart=True)
    assert begins.finished == 0
    assert all(path.stat().st_mtime_ns > then for path, then in zip(reports, before))
    assert json.loads((tmp_path / "s" / "sweep.json").read_text())["restarting"] == []


def test_another_sweep_is_refused_before_anything_is_done(tmp_path):
    list(sweep(wanted(*CELLS), tmp_path / "s"))
    with pytest.raises(ConfigError, match="seeds: 1 there, 1, 2 asked"):
        list(sweep(wanted(*CELLS, seeds=2), tmp_path / "s"))


def test_what_a_run_warns_of_is_handed_on(tmp_path):
    events = list(sweep(wanted(), tmp_path / "s"))
    assert any(isinstance(event, Says) and "for data of your own" in event.said for event in events)


def test_n_grams_are_swept_as_well(tmp_path, small_text):
    counted = grid(Request("kn3", str(small_text), assignments=["ngram.order=1,2"]))
    *_, swept = sweep(counted, tmp_path / "s")
    one, two = swept.result["rows"]
    assert two["best"] and two["valid"]["mean"] < one["valid"]["mean"]
    assert one["parameters"] is None


@pytest.mark.parametrize(
    ("cores", "memory", "asked", "gpu", "count"),
    [
        (2, None, None, False, 2),
        (64, None, None, False, 4),  # as many as runs
        (8, 3 * 2**30 + 10**6, None, False, 3),
        (8, 100, None, False, 1),
        (8, None, 3, False, 3),
        (8, None, None, True, 1),
    ],
)
def test_workers_are_as_many_as_cores_memory_and_runs_allow(
    monkeypatch, cores, memory, asked, gpu, count
):
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module, "available_memory", lambda: memory)
    monkeypatch.setattr(module, "_has_gpu", lambda: gpu)
    assert worker_count(wanted(*CELLS, seeds=2), asked) == count
