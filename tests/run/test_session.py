"""A run from its config to its report: what it leaves, and what the same command does again."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recurra import machine
from recurra.errors import CheckpointError, ConfigError, DataError, RecurraError, RunError
from recurra.labels.classifier import Classifier
from recurra.labels.entry import LabelRun
from recurra.labels.options import LabelNetworkOptions, LabelOptions
from recurra.language.entry import LanguageRun, NgramRun
from recurra.language.models.base import LanguageModel
from recurra.language.models.mixture import MixtureModel
from recurra.language.models.network import NetworkModel
from recurra.language.options import MixtureOptions, NetworkOptions, NgramOptions, TextOptions
from recurra.language.task import LanguageTask
from recurra.learning.config import GIVEN, RunConfig, fields
from recurra.learning.event import Finished, Saved, Started, Stepped, Stopped, Validated, Warned
from recurra.learning.options import TrainOptions
from recurra.learning.task import Task
from recurra.run import session
from recurra.run.presets import preset
from recurra.run.report import render
from recurra.run.session import Opened, Reported, evaluate, train
from recurra.run.tasks import TASKS, load_model, task_class
from recurra.series.entry import SeriesRun
from recurra.series.options import ForecastOptions, SeriesOptions
from recurra.series.use.forecaster import Forecaster
from recurra.storage.files import sha256
from recurra.storage.locks import lock
from recurra.storage.sources import changed_source_allowed
from recurra.table import imported

pytestmark = pytest.mark.usefixtures("knows_grammar")

FILES = {
    ".lock",
    ".recurra",
    "checkpoints",
    "config.json",
    "curves.png",
    "metrics.jsonl",
    "model",
    "report.json",
}
INTERFACE = {
    "run",
    "preset",
    "task",
    "seed",
    "steps",
    "epochs",
    "seconds",
    "train_seconds",
    "throughput",
    "valid",
    "test",
    "baselines",
    "judged",
    "verdict",
    "pictures",
    "start",
    "command",
}

METRICS = {
    "tokens",
    "oov",
    "oov_rate",
    "nats_per_token",
    "perplexity",
    "perplexity_low",
    "perplexity_high",
    "bits_per_char",
}

CONFIG = LanguageRun(
    preset="mine",
    seed=5,
    threads=1,
    data=TextOptions(corpus="grammar", chunk_length=20),
    network=NetworkOptions(hidden_size=8, dropout=0.3, num_layers=1),
    train=TrainOptions(
        steps=12,
        batch_size=200,  # some 15 steps an epoch
        optimizer="adam",
        learning_rate=0.01,
        schedule="cosine",
        validate_epochs=0.25,
        keep="best",
        save_seconds=3600,
    ),
)
NGRAMS = NgramRun(preset="counts", data=CONFIG.data, ngram=NgramOptions(order=2))


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def changed(**changes: Any) -> LanguageRun:
    run = CONFIG
    for part, settings in changes.items():
        if isinstance(settings, dict):
            settings = getattr(run, part).model_copy(update=settings)
        run = run.model_copy(update={part: settings})
    return run


def after(count: int) -> Callable[[], bool]:
    """Return a `should_stop` that holds from its `count`-th asking on."""
    asked = iter(range(1, 10_000))
    return lambda: next(asked) >= count


def report_of(events: list[Any]) -> dict[str, Any]:
    assert isinstance(events[-1], Reported)
    return events[-1].report


def learned(run: Path) -> dict[str, str]:
    """Return the hashes of all that training determines."""
    newest = sorted((run / "checkpoints").iterdir())[-1]
    files = [*newest.glob("*.safetensors"), *(run / "model").iterdir(), run / "metrics.jsonl"]
    return {path.relative_to(run).as_posix(): sha256(path) for path in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, encoded: Path) -> tuple[Path, list[Any]]:
    """A run that went through, shared by the tests that only look at it, and its events."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURRA_CACHE", str(encoded))
        return folder / "run", list(train(CONFIG, out=folder / "run"))


# What a run leaves


def test_a_run_directory_holds_these_files(finished: tuple[Path, list[Any]]) -> None:
    run, events = finished
    assert {path.name for path in run.iterdir()} == FILES
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "config.json").read_text()) == CONFIG.model_dump(mode="json")
    assert json.loads((run / "report.json").read_text()) == report_of(events)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000012"]


def test_events_of_a_whole_run(finished: tuple[Path, list[Any]]) -> None:
    run, events = finished
    kinds = [type(event) for event in events]
    assert kinds[:2] == [Opened, Started]
    assert kinds[-3:] == [Saved, Finished, Reported]
    assert kinds.count(Stepped) == 12
    assert kinds.count(Validated) == 3
    assert Warned not in kinds
    opened = events[0]
    assert (opened.config, opened.directory) == (CONFIG, run)
    assert (opened.metric, opened.unit) == ("perplexity", "tokens")
    assert set(opened.facts) == {
        *("corpus", "tokens", "vocabulary", "network", "start", "unknown", "threads"),
    }
    assert opened.facts["threads"] == "1, as its config says"


def test_the_report_is_what_the_interface_says(finished: tuple[Path, list[Any]]) -> None:
    run, events = finished
    report = report_of(events)
    assert report.keys() == INTERFACE | {"sample"}
    done = next(event for event in events if isinstance(event, Finished))
    expected = {"run": str(run), "preset": "mine", "task": "language", "seed": 5, "steps": 12}
    assert expected.items() <= report.items()
    assert report["epochs"] == done.epoch
    assert report["train_seconds"] == pytest.approx(done.seconds, abs=1e-3)
    assert report["train_seconds"] < report["seconds"] < 120
    assert report["throughput"]["unit"] == "tokens/s"
    assert report["throughput"]["value"] == pytest.approx(done.items / done.seconds, rel=1e-3)
    assert report["baselines"].keys() == {"kn5", "kn5_cache"}
    for entry in (report["valid"], report["test"], *report["baselines"].values()):
        assert entry.keys() == METRICS
        assert entry["perplexity_low"] < entry["perplexity"] < entry["perplexity_high"]
        assert entry["perplexity"] == pytest.approx(math.exp(entry["nats_per_token"]))
    assert "worse than kn5" in report["verdict"]
    assert len(report["sample"].replace("\n", " <eos> ").split()) == 60


def test_metrics_have_a_line_for_each_step_and_validation_and_no_clock(
    finished: tuple[Path, list[Any]],
) -> None:
    run, events = finished
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if "loss" in record]
    validations = [record for record in records if "valid" in record]
    assert len(steps) + len(validations) == len(records) == 15
    for record, event in zip(steps, (e for e in events if isinstance(e, Stepped)), strict=True):
        assert record == {
            "step": event.step,
            "epoch": event.epoch,
            "loss": event.loss,
            "learning_rate": event.learning_rate,
            "gradient_norm": event.gradient_norm,
        }
    for record, event in zip(
        validations, (e for e in events if isinstance(e, Validated)), strict=True
    ):
        assert record.keys() == {"step", "epoch", "valid", "best"}
        assert record["valid"] == dict(event.metrics)


def test_the_model_is_the_best_validated_and_loadable_alone(
    finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    run, events = finished
    report = report_of(events)
    best = min(e.metrics["nats_per_token"] for e in events if isinstance(e, Validated))
    assert report["valid"]["nats_per_token"] == pytest.approx(best, rel=1e-12)
    (run / "model").rename(tmp_path / "elsewhere")
    try:
        model = LanguageModel.from_pretrained(tmp_path / "elsewhere")
    finally:
        (tmp_path / "elsewhere").rename(run / "model")
    assert model.rule == "split"
    assert len(model.vocabulary) == 141


def test_n_grams_are_a_run_too(tmp_path: Path) -> None:
    events = list(train(NGRAMS, out=tmp_path / "run"))
    report = report_of(events)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES - {"checkpoints"}
    assert (report["task"], report["steps"], report["baselines"]) == ("ngram", 1, {})
    assert report["test"] == evaluate(tmp_path / "run")
    assert report_of(list(train(NGRAMS, out=tmp_path / "run"))) == report


@pytest.fixture
def mixing(small_text: Path) -> LanguageRun:
    """A small text, and what it is learned and mixed by."""
    options = MixtureOptions(cache=True, order=2)
    small = changed(data={"corpus": str(small_text)}, train={"batch_size": 4, "steps": 9})
    return small.model_copy(update={"mix": options})


def test_a_mixture_lies_beside_the_model(mixing: LanguageRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = report_of(list(train(mixing, out=run)))
    assert {path.name for path in run.iterdir()} == FILES | {"mixture"}
    assert report.keys() == INTERFACE | {"sample", "mixture"}
    assert list(report["mixture"]["parts"]) == ["network", "network_cache", "kn2"]
    assert report["mixture"]["parts"]["network"]["test_perplexity"] == report["test"]["perplexity"]
    model = LanguageModel.from_pretrained(run / "mixture")
    assert model.kind == "mixture"
    for split in ("valid", "test"):
        expected = pytest.approx(report["mixture"][split], rel=1e-6)
        assert evaluate(run / "mixture", split=split) == expected
        assert evaluate(run / "model", split=split) == pytest.approx(report[split], rel=1e-6)
    assert report_of(list(train(mixing, out=run))) == report


def test_what_is_mixed_is_a_setting_like_another(mixing: LanguageRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    list(train(mixing, out=run))
    without = mixing.model_copy(update={"mix": MixtureOptions()})
    with pytest.raises(ConfigError, match=r"mix\.cache: True there, False asked; mix\.order: 2"):
        list(train(without, out=run))
    report = report_of(list(train(without, out=run, restart=True)))
    assert "mixture" not in report
    assert not (run / "mixture").exists()


def test_killed_before_the_mixture_is_saved_it_is_made_again(
    mixing: LanguageRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MixtureModel, "save_pretrained", die)
        with pytest.raises(KeyboardInterrupt):
            list(train(mixing, out=run))
    assert not (run / "report.json").exists()
    events = list(train(mixing, out=run))
    assert not any(isinstance(event, Stepped) for event in events)
    assert evaluate(run / "mixture") == pytest.approx(report_of(events)["mixture"]["test"])


def test_a_mixture_without_a_run_is_never_replaced(mixing: LanguageRun, tmp_path: Path) -> None:
    (tmp_path / "mine" / "mixture").mkdir(parents=True)
    with pytest.raises(RunError, match=r"holds mixture and is not a run"):
        list(train(mixing, out=tmp_path / "mine"))


# Whose the folder is


def bytes_of(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


REFUSED = {
    "data": (NGRAMS, "nowhere.txt"),
    "another kind of data": (NGRAMS, np.zeros(3)),
    "a device": (changed(device="cuda"), None),
    "weights": (changed(network={"hidden_size": 9}, start_from="gone"), None),
    "memory": (changed(network={"hidden_size": 200_000}), None),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a device is refused that is there")
def test_what_is_refused_on_a_finished_run_with_restart_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    list(train(NGRAMS, out="run"))
    Path("run/notes.txt").write_text("mine")
    before = bytes_of(Path("run"))
    for config, data in REFUSED.values():
        with pytest.raises(RecurraError):
            list(train(config, data=data, out="run", restart=True))
        assert bytes_of(Path("run")) == before


def test_a_run_that_is_started_over_leaves_its_owner_s_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    list(train(NGRAMS, out=run))
    (run / "notes.txt").write_text("mine")
    (run / "photos.tmp-0123abcd").mkdir()
    (run / "photos.tmp-0123abcd" / "sea.jpg").write_text("mine")
    again = NGRAMS.model_copy(update={"ngram": NgramOptions(order=1)})
    events = list(train(again, out=run, restart=True))
    assert Warned not in map(type, events)
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "photos.tmp-0123abcd" / "sea.jpg").read_text() == "mine"
    assert report_of(list(train(again, out=run))) == report_of(events)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["config.json", "report.json", "model", "checkpoints", "none"])
def test_a_folder_of_someone_s_is_refused_and_nothing_in_it_is_touched(
    tmp_path: Path, name: str, restart: bool
) -> None:
    theirs = tmp_path / "theirs"
    for each in ("model", "checkpoints"):
        (theirs / each).mkdir(parents=True)
        (theirs / each / "precious").write_text("theirs")
    for each in ("config.json", "report.json", "a.txt"):
        (theirs / each).write_text('{"name": "theirs"}')
    if name != "none":
        (theirs / name).rename(tmp_path / "alone")
    before = bytes_of(theirs)
    with pytest.raises(RunError, match=r"holds a\.txt and is not a run, so nothing is written"):
        list(train(NGRAMS, out=theirs, restart=restart))
    assert bytes_of(theirs) == before


def test_an_empty_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="out is empty"):
        list(train(NGRAMS, out=""))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("how", "when"), [("removed", Started), ("moved", Saved), ("removed", Finished)]
)
def test_a_run_that_is_moved_or_removed_while_it_trains_ends_and_is_not_written_anew(
    tmp_path: Path, how: str, when: type
) -> None:
    run, config = tmp_path / "run", changed(train={"save_seconds": 0})
    with pytest.raises(RunError, match="it was moved or removed, so nothing more is written"):
        for event in train(config, out=run):
            if isinstance(event, when) and run.exists():
                shutil.rmtree(run) if how == "removed" else run.rename(tmp_path / "moved")
    assert not run.exists()
    if how == "moved":
        assert isinstance(list(train(config, out=tmp_path / "moved"))[-1], Reported)


def test_a_damaged_line_of_metrics_is_said_when_the_run_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    list(train(CONFIG, out=run, should_stop=after(6)))
    log = run / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], lines[2].replace(b"loss", b"lors"), *lines[3:]]))
    (said,) = (event.message for event in train(CONFIG, out=run) if isinstance(event, Warned))
    assert said == f"{log}: line 3 is damaged, and dropped; the log lacks what stood there"
    kept = log.read_bytes().splitlines(keepends=True)
    assert kept[: len(lines) - 1] == lines[:2] + lines[3:]


def test_the_log_is_on_the_disk_before_each_checkpoint_that_speaks_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "run" / "metrics.jsonl"
    flushed, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        if log.exists() and os.path.samestat(os.fstat(descriptor), log.stat()):
            flushed.append(log.stat().st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    for event in train(changed(train={"save_seconds": 0}), out=log.parent):
        if isinstance(event, Saved):
            assert json.loads(log.read_text().splitlines()[-1])["step"] == event.step
            assert flushed[-1] == log.stat().st_size


def test_a_split_that_is_not_there_is_null(tmp_path: Path, small_text: Path) -> None:
    config = changed(data={"split": "90/10"}, train={"batch_size": 4, "steps": 2})
    report = report_of(list(train(config, data=small_text, out=tmp_path / "run")))
    assert report["test"] is None
    assert report["valid"]["tokens"] > 0
    assert report["baselines"]["kn5"]["tokens"] == report["valid"]["tokens"]
    (tmp_path / "only").mkdir()
    small_text.rename(tmp_path / "only" / "train.txt")
    config = changed(train={"batch_size": 4, "steps": 2})
    report = report_of(list(train(config, data=tmp_path / "only", out=tmp_path / "alone")))
    assert (report["valid"], report["test"], report["baselines"]) == (None, None, {})
    assert report["verdict"] == "there is neither a test nor a validation split to judge by"


def test_nothing_is_written_anywhere_else(tmp_path: Path, small_text: Path) -> None:
    """In a process of its own, whose home, temporary and working folders are watched."""
    places = {name: tmp_path / name for name in ("home", "tmp", "work", "cache")}
    for place in places.values():
        place.mkdir()
    small_text.rename(places["work"] / "text.txt")
    values = changed(train={"batch_size": 4, "steps": 2}).model_dump()
    (places["work"] / "mine.py").write_text(
        "from recurra.language.entry import LanguageRun\n"
        f"def mine(): return LanguageRun.model_validate({values})\n"
    )
    environment = {
        **os.environ,
        "HOME": str(places["home"]),
        "TMPDIR": str(places["tmp"]),
        "RECURRA_CACHE": str(places["cache"]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "recurra", "train", "mine:mine", "--data", "text.txt"]
    done = subprocess.run(
        command, cwd=places["work"], env=environment, capture_output=True, text=True, check=False
    )
    said = re.sub(r"^[\w ]+; \d+ s\n", "", done.stderr, flags=re.M)  # of what takes long here
    assert (done.returncode, said) == (0, "")
    assert list(places["home"].iterdir()) == []
    assert list(places["tmp"].iterdir()) == []
    assert sorted(path.name for path in places["work"].iterdir()) == ["mine.py", "runs", "text.txt"]
    assert [path.name for path in (places["work"] / "runs").iterdir()] == ["mine"]
    assert {path.name for path in (places["work"] / "runs" / "mine").iterdir()} == FILES


def test_nothing_happens_before_the_first_event_is_asked_for(tmp_path: Path) -> None:
    events = train(CONFIG, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert isinstance(next(events), Opened)
    assert (tmp_path / "run" / "config.json").exists()
    events.close()
    with lock(tmp_path / "run" / ".lock"):  # given back
        pass


# The same command again


def test_a_finished_run_reports_again_and_trains_nothing(
    finished: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, events = finished
    monkeypatch.setattr(session, "task_class", None)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert list(train(CONFIG, out=run)) == [Reported(report_of(events))]
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.name != ".lock"} == before


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 6}, "seed: 5 there, 6 asked"),
        ({"train": {"learning_rate": 0.5}}, "train.learning_rate: 0.01 there, 0.5 asked"),
        ({"train": {"steps": None}}, "train.steps: 12 there, none asked"),
        ({"network": {"tied": True}}, "network.tied: False there, True asked"),
        ({"data": {"corpus": "ptb"}}, "data.corpus: grammar there, ptb asked"),
    ],
)
def test_with_anything_changed_it_lists_the_differences(
    finished: tuple[Path, list[Any]], changes: dict[str, Any], line: str
) -> None:
    run, _ = finished
    with pytest.raises(ConfigError) as caught:
        list(train(changed(**changes), out=run))
    assert caught.value.exit_code == 2
    assert f"{run} holds another run ({line}). Give another --out" in str(caught.value)
    with pytest.raises(ConfigError, match="task: language there, ngram asked"):
        list(train(NGRAMS, out=run))


@pytest.mark.parametrize("step", [1, 4, 11])
def test_stopped_and_resumed_it_ends_with_the_same_bits(
    finished: tuple[Path, list[Any]], tmp_path: Path, step: int
) -> None:
    run, events = finished
    part = tmp_path / "run"
    first = list(train(CONFIG, out=part, should_stop=after(step)))
    assert first[-1] == Stopped(step)
    assert not (part / "report.json").exists()
    second = list(train(CONFIG, out=part))
    started = next(event for event in second if isinstance(event, Started))
    assert started.step == step
    assert learned(part) == learned(run)
    expected, found = report_of(events), report_of(second)
    for name in expected.keys() - {"run", "seconds", "train_seconds", "throughput"}:
        assert found[name] == expected[name]


def test_lines_of_steps_that_are_taken_again_stand_there_once(
    finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    """As after a kill: the log is ahead of the checkpoint, its last line cut short."""
    part = tmp_path / "run"
    list(train(CONFIG, out=part, should_stop=after(3)))
    log = (part / "metrics.jsonl").read_bytes()
    ahead = log + b'{"step": 4, "loss": 1.0}\n{"step": 5, "lo'
    (part / "metrics.jsonl").write_bytes(ahead)
    list(train(CONFIG, out=part))
    assert learned(part) == learned(finished[0])


def test_killed_between_training_and_report_it_reports_without_training(
    finished: tuple[Path, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "run"

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("compose", "curves"):
        with monkeypatch.context() as patch:
            patch.setattr(session, name, die)
            with pytest.raises(KeyboardInterrupt):
                list(train(CONFIG, out=part))
        assert not (part / "report.json").exists()
    events = list(train(CONFIG, out=part))
    assert not any(isinstance(event, Stepped) for event in events)
    assert report_of(events)["test"] == report_of(finished[1])["test"]
    assert learned(part) == learned(finished[0])


def test_restart_discards_what_is_there(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    part = tmp_path / "run"
    list(train(changed(seed=8), out=part, should_stop=after(2)))
    (part / "notes.txt").write_text("kept")
    events = list(train(CONFIG, out=part, restart=True))
    assert next(event for event in events if isinstance(event, Started)).step == 0
    assert learned(part) == learned(finished[0])
    assert (part / "notes.txt").read_text() == "kept"


def test_left_overs_of_a_killed_run_are_removed_with_a_line(tmp_path: Path) -> None:
    part = tmp_path / "run"
    list(train(CONFIG, out=part, should_stop=after(2)))
    (part / "report.json.tmp-0123abcd").touch()
    (part / "checkpoints" / "step-00000003.tmp-0123abcd").mkdir()
    events = list(train(CONFIG, out=part, should_stop=after(1)))
    warned = [event.message for event in events if isinstance(event, Warned)]
    assert len(warned) == 2
    assert "report.json.tmp-0123abcd" in warned[0]
    assert "step-00000003.tmp-0123abcd" in warned[1]


def test_data_that_changed_since_are_refused(tmp_path: Path, small_text: Path) -> None:
    config = changed(train={"batch_size": 4})
    list(train(config, data=small_text, out=tmp_path / "run", should_stop=after(2)))
    whole = small_text.read_text()
    small_text.write_text(whole.replace("the cat sat", "the dog sat").replace("a dog", "a cat"))
    with pytest.raises(ConfigError, match="begun on other data, so it cannot go on: text changed"):
        list(train(config, data=small_text, out=tmp_path / "run"))
    small_text.write_text(whole)
    assert isinstance(list(train(config, data=small_text, out=tmp_path / "run"))[-1], Reported)


def test_minutes_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []

    def measure(*_: object) -> float:
        measured.append(1.0)
        return 4.6 / len(measured)

    monkeypatch.setattr("recurra.learning.plan.measure_seconds_per_step", measure)
    config = changed(train={"steps": None, "minutes": 0.4, "validate_epochs": 10.0})
    first = list(train(config, out=tmp_path / "run", should_stop=after(2)))
    assert first[0].config.train.steps == 4  # of 22.8 seconds, 4.6 each
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["steps"] == 4
    second = list(train(config, out=tmp_path / "run"))
    assert report_of(second)["steps"] == 4
    assert len(measured) == 1
    assert isinstance(list(train(config, out=tmp_path / "run"))[-1], Reported)


# From another run


def test_it_goes_on_from_another_runs_weights(
    finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    run, _ = finished
    config = changed(train={"learning_rate": 1e-9, "steps": 1}, network={"dropout": 0.0})
    report = report_of(list(train(config, start_from=run, out=tmp_path / "run")))
    there = json.loads((run / "report.json").read_text())
    assert report["test"]["nats_per_token"] == pytest.approx(there["test"]["nats_per_token"], 1e-5)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["start_from"] == str(run)
    with pytest.raises(ConfigError, match=r"start_from: .* there, none asked"):
        list(train(config, out=tmp_path / "run"))


def test_an_unfinished_run_has_no_weights_to_give(tmp_path: Path) -> None:
    list(train(CONFIG, out=tmp_path / "first", should_stop=after(1)))
    with pytest.raises(CheckpointError, match="holds no model; is the run finished"):
        list(train(CONFIG, start_from=tmp_path / "first", out=tmp_path / "second"))


def test_a_restart_does_not_discard_the_weights_it_is_to_begin_with(tmp_path: Path) -> None:
    list(train(CONFIG, out=tmp_path / "run"))
    before = learned(tmp_path / "run")
    for start in (tmp_path / "run", tmp_path / "run" / "model"):
        with pytest.raises(ConfigError, match="--restart would discard the weights that --from"):
            list(train(CONFIG, start_from=start, out=tmp_path / "run", restart=True))
    assert learned(tmp_path / "run") == before


# Doors


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens data fails the test."""

    def fail(*_: object) -> None:
        raise AssertionError("data were loaded first")

    monkeypatch.setattr("recurra.language.task.TextDataset.open", fail)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("config", [CONFIG, NGRAMS], ids=["network", "ngram"])
def test_a_place_that_cannot_be_written_to_is_said_before_data_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: RunConfig
) -> None:
    (tmp_path / "file").write_text("precious")
    for place in ("file", "file/below"):
        with pytest.raises(RunError, match=f"{place} is a file, or lies under one") as caught:
            list(train(config, out=tmp_path / place))
        assert caught.value.exit_code == 1
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(RunError, match=r"closed cannot be written to \(Permission .*dr-xr-xr-x"):
        list(train(config, out=tmp_path / "closed"))


@pytest.mark.usefixtures("unread")
def test_a_second_trainer_is_sent_away_before_it_loads_data(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with lock(tmp_path / "run" / ".lock"):
        with pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
            list(train(CONFIG, out=tmp_path / "run"))


@pytest.mark.usefixtures("unread")
def test_a_gpu_that_is_not_there_is_said_before_data_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="take --device cpu"):
        list(train(changed(device="cuda"), out=tmp_path / "run"))


def test_a_damaged_config_is_a_bad_file_not_a_new_run(tmp_path: Path) -> None:
    list(train(CONFIG, out=tmp_path / "run", should_stop=after(1)))
    (tmp_path / "run" / "config.json").write_text('{"task": "language"')
    with pytest.raises(CheckpointError, match=r"config\.json"):
        list(train(CONFIG, out=tmp_path / "run"))


def test_the_run_is_in_runs_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    list(train(NGRAMS))
    assert (tmp_path / "runs" / "counts" / "report.json").exists()


# Evaluation


def test_evaluation_gives_the_reports_numbers(finished: tuple[Path, list[Any]]) -> None:
    run, events = finished
    report = report_of(events)
    assert evaluate(run) == report["test"]
    assert evaluate(run, split="valid") == report["valid"]
    assert evaluate(str(run), split="train")["tokens"] == 60_017
    independent = evaluate(run, context="independent")
    assert independent["tokens"] == report["test"]["tokens"]
    assert independent["nats_per_token"] != report["test"]["nats_per_token"]


def test_evaluation_of_another_text(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    run, _ = finished
    (tmp_path / "text").write_text("this cat sleeps\nthese zebras sleep\n")
    found = evaluate(run, data=tmp_path / "text")
    assert (found["tokens"], found["oov"]) == (8, 1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "test.txt").write_text("this cat sleeps\nthese zebras sleep\n")
    assert evaluate(run, data=tmp_path / "folder") == found
    with pytest.raises(DataError, match="no train split"):
        evaluate(run, data=tmp_path / "folder", split="train")


def test_what_cannot_be_evaluated(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    run, _ = finished
    with pytest.raises(DataError, match="no dev split, only train, valid, test"):
        evaluate(run, split="dev")
    with pytest.raises(ConfigError, match="got 'word'"):
        evaluate(run, context="word")
    with pytest.raises(CheckpointError, match="holds no model"):
        evaluate(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="no tokens in"):
        evaluate(run, data=tmp_path / "empty")


# Other tasks


SERIES = SeriesRun(
    preset="tiny",
    threads=1,
    data=SeriesOptions(dataset="airline"),
    network=ForecastOptions(hidden_size=4),
    train=TrainOptions(steps=3, batch_size=8, optimizer="adam", learning_rate=0.01),
)
LABELS = LabelRun(
    preset="tiny",
    threads=1,
    data=LabelOptions(dataset="iris"),
    network=LabelNetworkOptions(kind="softmax"),
    train=TrainOptions(steps=60, batch_size=120, optimizer="adam", learning_rate=0.1),
)


def test_forecasts_are_a_run_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    opened, *_, reported = list(train(SERIES, out=run))
    assert (opened.metric, opened.unit) == ("mase", "windows")
    report = reported.report
    assert report.keys() == INTERFACE | {"notes"}
    assert (report["task"], report["throughput"]["unit"]) == ("series", "windows/s")
    assert report["judged"] == {"metric": "mase", "better": "lower"}
    assert report["test"]["horizon"] == 12
    rivals = {name: entry["mase"] for name, entry in report["baselines"].items()}
    best = min(rivals, key=lambda name: rivals[name])
    assert f"than {best}'s" in report["verdict"]
    assert report["verdict"].startswith(f"test mase {report['test']['mase']:.3f} is ")
    assert report["pictures"] == ["curves.png", "forecast.png", "errors.png"]
    assert {path.name for path in run.iterdir()} == FILES | {"forecast.png", "errors.png"}
    assert evaluate(run) == pytest.approx(report["test"])
    assert evaluate(run, split="valid") == pytest.approx(report["valid"])
    assert evaluate(run / "model") == pytest.approx(report["test"])  # it knows its own data
    assert Forecaster.from_pretrained(run).horizon == 12
    assert report_of(list(train(SERIES, out=run))) == report
    list(train(SERIES, out=run, restart=True, should_stop=after(1)))
    assert {path.name for path in run.glob("*.png")} == set()


def test_labels_are_a_run_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = report_of(list(train(LABELS, out=run)))
    assert report.keys() == INTERFACE - {"start"}
    assert (report["judged"], report["valid"]) == ({"metric": "accuracy", "better": "higher"}, None)
    assert report["test"]["accuracy"] > 0.9
    assert report["baselines"].keys() == {"majority", "linear"}
    assert "test accuracy" in report["verdict"] and "linear's" in report["verdict"]
    assert report["pictures"] == ["curves.png", "confusion.png"]
    assert evaluate(run) == pytest.approx(report["test"])
    assert Classifier.from_pretrained(run).classes == ("setosa", "versicolor", "virginica")


def preset_of(run: Path) -> RunConfig:
    return SeriesRun.model_validate_json((run / "config.json").read_text())


def test_what_is_handed_over_is_learned(tmp_path: Path) -> None:
    wave = np.sin(np.arange(120) / 2)
    config = SERIES.model_copy(update={"data": SeriesOptions(horizon=4, season=1)})
    report = report_of(list(train(config, data=wave, out=tmp_path / "run")))
    assert report["test"]["horizon"] == 4
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written["data"]["dataset"] == GIVEN
    assert report_of(list(train(config, data=wave, out=tmp_path / "run"))) == report
    found = evaluate(tmp_path / "run", data=wave)
    assert found == pytest.approx(report["test"])
    with pytest.raises(ConfigError, match="handed over in Python; hand them over again"):
        evaluate(tmp_path / "run")
    with pytest.raises(ConfigError, match="handed over in Python; hand them over again"):
        list(train(preset_of(tmp_path / "run"), out=tmp_path / "again"))
    with pytest.raises(ConfigError, match="learns a text"):
        list(train(CONFIG, data=wave, out=tmp_path / "text"))


def test_other_data_that_are_handed_over_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    wave = np.sin(np.arange(120) / 2)
    config = SERIES.model_copy(update={"data": SeriesOptions(horizon=4, season=1)})
    list(train(config, data=wave, out=tmp_path / "run", should_stop=after(1)))
    with pytest.raises(ConfigError, match="begun on other data"):
        list(train(config, data=wave + 1, out=tmp_path / "run"))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_what_a_session_drives(name: str) -> None:
    entry, task = TASKS[name], task_class(name)
    wanted = {each for each in vars(Task) if not each.startswith("_")} | {"unit"}
    assert wanted - {"metric", "config"} <= set(dir(task))
    config = entry.config(preset="mine")
    assert (config.task, type(config)) == (name, entry.config)
    assert config.source_setting in dict(fields(entry.config))
    model = imported(entry.model, "model")
    assert model.can and all(hasattr(model, each) for each in ("from_pretrained", "can"))
    assert {preset(each).task for each in entry.presets} == {name}
    titles = [metric.name for metric in entry.metrics]
    assert len(set(titles)) == len(titles)
    if entry.data is not None:
        data = imported(entry.data, "data")
        assert all(data.open(each).found() is None or data.table[each] for each in data.table)


def test_a_model_alone_is_evaluated_by_what_it_says_it_is(
    finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    run, _ = finished
    (tmp_path / "text").write_text("this cat sleeps\n")
    assert evaluate(run / "model", data=tmp_path / "text") == evaluate(run, data=tmp_path / "text")
    (tmp_path / "file").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="is not valid safetensors"):
        evaluate(tmp_path / "file")


@pytest.mark.parametrize("given", ["words", None, {"preset": "words"}, LanguageRun])
@pytest.mark.parametrize("data", [None, "grammar"])
def test_what_is_no_config_is_refused_and_told_how_to_make_one(
    tmp_path: Path, given: Any, data: str | None
) -> None:
    with pytest.raises(ConfigError, match=r"recurra\.preset\('words'\) makes one, got") as why:
        list(train(given, data=data, out=tmp_path / "run"))
    assert len(str(why.value)) < 200
    assert not (tmp_path / "run").exists()


# Threads


def events_of(config: LanguageRun, run: Path, **options: Any) -> list[Any]:
    return list(train(config, out=run, **options))


def test_the_number_of_threads_is_chosen_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    opened = events_of(changed(threads=None), tmp_path / "run", should_stop=after(3))[0]
    assert opened.config.threads == 1
    assert opened.facts["threads"] == "1, as the network is small"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["threads"] == 1
    assert torch.get_num_threads() == before
    monkeypatch.setattr(machine, "WORTH", 1)  # elsewhere it would be another
    events = events_of(changed(threads=None), tmp_path / "run")
    assert [event for event in events if isinstance(event, Warned)] == []
    assert events[0].facts["threads"] == "1, as its config says"
    chosen = events_of(changed(threads=None), tmp_path / "other", should_stop=after(1))[0]
    assert chosen.facts["threads"] == "2, as many as this process may use cores"


def test_other_threads_on_a_run_are_a_warning_and_no_other_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    events_of(CONFIG, run, should_stop=after(3))
    seen: list[int] = []

    def stop() -> bool:
        seen.append(torch.get_num_threads())
        return len(seen) == 3

    warned, opened = events_of(changed(threads=2), run, should_stop=stop)[:2]
    assert isinstance(warned, Warned)
    assert "this run had --threads 1 until now and is asked to go on with 2" in warned.message
    assert (opened.config.threads, set(seen)) == (2, {2})
    assert not any(isinstance(event, Warned) for event in events_of(changed(threads=None), run))
    assert json.loads((run / "config.json").read_text())["threads"] == 2
    (again,) = events_of(CONFIG, run)
    assert isinstance(again, Reported)


def test_fewer_cores_than_the_run_had_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    events_of(changed(threads=2), run, should_stop=after(3))
    monkeypatch.setattr(session, "usable_cores", lambda: 1)
    warned, opened, *_ = events_of(changed(threads=None), run)
    assert isinstance(warned, Warned)
    assert "goes on with --threads 2, but may use only 1 of the cores" in warned.message
    assert opened.config.threads == 2


def test_a_run_is_evaluated_and_used_on_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    events_of(CONFIG, run)
    torch.set_num_threads(2)
    seen: list[int] = []
    score = NetworkModel.score
    monkeypatch.setattr(
        LanguageTask,
        "evaluate",
        lambda *_: seen.append(torch.get_num_threads()) or {},
    )
    evaluate(run)
    assert (seen, torch.get_num_threads()) == ([1], 2)
    assert load_model(run, "score").score.__func__ is score
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    load_model(run / "model", "score")
    assert torch.get_num_threads() == 1
    for odd in ("null", "4096000", "-1", "true", '"2"', "[]", "1e999"):
        text = (run / "config.json").read_text()
        (run / "config.json").write_text(text.replace('"threads": 1', f'"threads": {odd}'))
        load_model(run, "score")
        assert torch.get_num_threads() <= 2
        (run / "config.json").write_text(text)
    os.truncate(run / "config.json", 1 << 42)  # a hole that no memory holds
    load_model(run / "model", "score")


def test_code_of_ones_own_that_changed_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = tmp_path / "lab_session_cell.py"
    cell.write_text("import recurra as rc\n\nclass Own(rc.GRUCell):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = tmp_path / "run"
    config = changed(network={"cell": "lab_session_cell:Own", "hidden_size": 4})
    steps: dict[str, Any] = {"out": run}
    list(train(config, **steps, should_stop=after(1)))
    kept = cell.read_text()
    assert (run / "sources" / cell.name).read_text() == kept
    cell.write_text(kept + "# another\n")
    with pytest.raises(ConfigError, match=r"has changed since .* --restart to start over"):
        list(train(config, **steps))
    with changed_source_allowed():
        events = list(train(config, **steps, should_stop=after(1)))
    assert any("has changed" in event.message for event in events if isinstance(event, Warned))
    assert (run / "sources" / cell.name).read_text() == kept + "# another\n"
    report = report_of(list(train(config, **steps)))
    first = next(path for path in (run / "sources").glob("*.py") if path.name != cell.name)
    assert first.read_text() == kept
    assert report["changed_source"] == ["lab_session_cell:Own"]
    assert "Gone on with under changed source: lab_session_cell:Own." in render(report)
    assert report["start"] == "lab_session_cell:Own's own, as its constructor leaves it"
    allowed = ["lab_session_cell:Own"]
    assert evaluate(run, allow_import=allowed) == pytest.approx(report["test"])
    cell.write_text(kept)
    with pytest.raises(CheckpointError, match="has changed since"):
        evaluate(run, allow_import=allowed)
    with changed_source_allowed(), pytest.warns(UserWarning, match="has changed") as warned:
        found = evaluate(run, allow_import=allowed)
    assert [each.filename for each in warned] == [__file__]
    assert found.pop("changed_source") == allowed
    assert found == pytest.approx(report["test"])
    again, reported = train(config, **steps)  # which is only told again
    assert isinstance(again, Warned) and "; the report is of what it was" in again.message
    assert reported == Reported(report)
