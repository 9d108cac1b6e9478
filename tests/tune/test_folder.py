"""A sweep's folder says which sweep it is, and takes no other."""

from __future__ import annotations

import json

import pytest

from recurra.errors import CheckpointError, ConfigError, RunError
from recurra.run.directory import RunDirectory
from recurra.run.presets import preset
from recurra.storage.locks import lock
from recurra.tune.folder import SweepFolder, runs_in
from recurra.tune.grid import Request, grid

SWEEP = grid(Request("labels", assignments=["network.cell=gru,lstm"]))
RUNS = [*SWEEP.configs]


def begun(path, sweep=SWEEP, restart=False):
    folder = SweepFolder(path)
    with folder.opened():
        left = folder.begin(sweep.identity(), [*sweep.configs], restart=restart)
    return folder, left


def test_the_same_sweep_goes_on_and_says_its_runs(tmp_path):
    begun(tmp_path / "s")
    folder, left = begun(tmp_path / "s")
    assert (folder.restarting, left) == ([], [])
    assert runs_in(tmp_path / "s") == [tmp_path / "s" / name for name in RUNS]
    assert runs_in(tmp_path) is None and runs_in(tmp_path / "s" / "sweep.json") is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seeds": 2}, "seeds: 1 there, 1, 2 asked"),
        ({"assignments": ["network.cell=gru,rnn"]}, "network.cell: gru, lstm there, gru, rnn"),
        ({"assignments": ["network.cell=gru"]}, "network.cell: gru, lstm there, gru asked"),
        ({"changes": ["train.steps=3"]}, "train.steps: none there, 3 asked"),
        ({"parameters": 9000}, "parameters: none there, 9000 asked"),
        ({"preset": "iris"}, "preset: labels there, iris asked"),
    ],
)
def test_another_sweep_is_refused_by_what_differs(tmp_path, other, said):
    begun(tmp_path / "s")
    before = (tmp_path / "s" / "sweep.json").read_bytes()
    wanted = {"preset": "labels", "assignments": ["network.cell=gru,lstm"], **other}
    with pytest.raises(ConfigError, match="holds another sweep") as refused:
        begun(tmp_path / "s", grid(Request(**wanted)))
    assert said in str(refused.value) and "--restart" in str(refused.value)
    assert (tmp_path / "s" / "sweep.json").read_bytes() == before


def test_a_setting_that_an_earlier_version_did_not_know_is_no_difference(tmp_path):
    begun(tmp_path / "s")
    path = tmp_path / "s" / "sweep.json"
    said = json.loads(path.read_text())
    del said["sweep"]["common"]["train.save_seconds"]
    path.write_text(json.dumps(said, indent=2))
    begun(tmp_path / "s")


def test_a_restart_is_remembered_run_by_run(tmp_path):
    begun(tmp_path / "s")
    other = grid(Request("labels", assignments=["network.cell=gru,rnn"]))
    folder, left = begun(tmp_path / "s", other, restart=True)
    assert folder.restarting == [*other.configs]
    assert left == ["cell=lstm,seed=1"]  # no run of the new one
    folder.begun("cell=gru,seed=1")
    again, _ = begun(tmp_path / "s", other)  # killed then, and continued
    assert again.restarting == ["cell=rnn,seed=1"]


def test_what_is_no_sweep_is_left_alone(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds thesis\.txt and is no sweep"):
        begun(tmp_path / "s")
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot hold a sweep"):
        begun(tmp_path / "file")


@pytest.mark.parametrize("name", ["results.json", "results.csv", "results.png"])
def test_results_of_someone_else_are_not_replaced(tmp_path, name):
    begun(tmp_path / "s")
    (tmp_path / "s" / name).write_text("mine")
    with pytest.raises(RunError, match="was not written by this sweep"):
        begun(tmp_path / "s")


@pytest.mark.parametrize("where", ["run", "run/model", "run/deeper/still"])
def test_a_run_holds_no_sweep(tmp_path, where):
    RunDirectory(tmp_path / "run").path.mkdir()
    RunDirectory(tmp_path / "run").write_config(preset("iris"))
    with pytest.raises(RunError, match="a run; give the sweep another --out"):
        begun(tmp_path / where)


def test_a_folder_in_which_nothing_was_begun_goes_again(tmp_path):
    with pytest.raises(KeyError), SweepFolder(tmp_path / "s").opened():
        raise KeyError
    assert not (tmp_path / "s").exists()


def test_two_sweeps_at_once_are_kept_apart(tmp_path):
    begun(tmp_path / "s")
    with lock(tmp_path / "s" / ".lock"):
        with pytest.raises(RunError, match="in use by process"):
            begun(tmp_path / "s")


def test_what_a_killed_one_left_half_written_is_cleared(tmp_path):
    (tmp_path / "s").mkdir()
    left = tmp_path / "s" / "sweep.json.tmp-0123abcd"
    left.write_bytes(b'{\n  "sweep": {')
    begun(tmp_path / "s")
    assert not left.exists()


def test_a_damaged_mark_is_named(tmp_path):
    begun(tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_text('{"sweep": 3}')
    with pytest.raises(CheckpointError, match="does not say which sweep this is"):
        begun(tmp_path / "s")
    assert runs_in(tmp_path / "s") is None
