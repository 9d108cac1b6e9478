"""A training of one's own in a folder: the log, the picture, the report, and whose folder it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import recurra as rc
from recurra.errors import ConfigError, RunError


class Line(rc.Learner):
    """Learns a slope of 3; no more is said of it than has to be."""

    steps_per_epoch = 5

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1)
        nn.init.zeros_(self.model.weight)
        nn.init.zeros_(self.model.bias)

    def batch(self, epoch, step):
        return torch.randn(8, 1, generator=torch.Generator().manual_seed(5 * epoch + step))

    def loss(self, batch, carry, generator):
        return (self.model(batch) - 3 * batch).square().mean(), None, len(batch)


class Judged(Line):
    def validate(self):
        slope = self.model.weight.item()
        return {"loss": (slope - 3) ** 2, "slope": slope}


OPTIONS = rc.TrainOptions(epochs=4, learning_rate=0.2, save_seconds=0)


def trained(out: Path, stop: int | None = None, learner: rc.Learner | None = None) -> list[object]:
    taken: list[int] = []

    def should_stop() -> bool:
        taken.append(1)
        return len(taken) == stop

    places = rc.Checkpoints(out / "checkpoints")
    learner = learner or Judged()
    return list(
        rc.recorded(rc.learn(learner, OPTIONS, 1, places, should_stop), out, metric="slope")
    )


def test_what_was_cut_has_the_log_and_the_report_of_what_was_not(tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    events = trained(tmp_path / "cut", stop=7)
    assert isinstance(events[-1], rc.Stopped)
    assert not (tmp_path / "cut" / "report.json").exists()
    learner = Judged()
    trained(tmp_path / "cut", learner=learner)
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut")]
    assert logs[0] == logs[1] and len(logs[0].splitlines()) == 20 + 4
    whole, cut = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "cut")
    )
    for key in ("steps", "epochs", "parameters", "valid", "best"):
        assert whole[key] == cut[key]
    assert cut["steps"] == 20 and cut["parameters"] == 2
    assert cut["valid"]["slope"] == pytest.approx(3, abs=0.05)
    assert cut["valid"]["slope"] == learner.model.weight.item()
    assert (tmp_path / "cut" / "curves.png").read_bytes()[1:4] == b"PNG"


def test_a_learner_need_say_nothing_of_data_or_validation(tmp_path: Path) -> None:
    trained(tmp_path / "run", learner=Line())
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["valid"] is report["best"] is None and report["steps"] == 20


def test_a_finished_one_is_finished_again_without_a_step(tmp_path: Path) -> None:
    trained(tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    events = trained(tmp_path / "run")
    assert not any(isinstance(event, rc.Stepped) for event in events)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "notes.txt"])
def test_a_folder_of_someone_elses_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(RunError, match=rf"holds {name} and is not a run"):
        trained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine\n"


def test_a_model_without_parameters_and_a_loss_that_is_stated_are_refused() -> None:
    learner = Line()
    learner.model = nn.Identity()
    with pytest.raises(ConfigError, match="no parameter that learns"):
        next(rc.learn(learner, OPTIONS, 1, None))
    own = OPTIONS.model_copy(update={"loss": "mine:loss"})
    with pytest.raises(ConfigError, match=r"cannot be imported|states its loss"):
        next(rc.learn(Line(), own, 1, None))
