"""What a stranger's model or run can do when it is loaded: nothing but be loaded, or be refused."""

from __future__ import annotations

import importlib.util
import io
import json
import random
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import recurra as rc
from recurra.cli import main
from recurra.errors import CheckpointError, ConfigError
from recurra.labels.network import SequenceNetwork
from recurra.labels.options import LabelNetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.run.directory import RunDirectory
from recurra.run.report import render
from recurra.storage.tensors import load_tensors, write_tensors

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "tests" / "golden" / "written"
MINE = """
from pathlib import Path
Path('imported').touch()
from recurra.language.text.corpora.grammar import GrammarCorpus
from recurra.nn.cells.lstm import LSTMCell
class Mine(LSTMCell): pass
class Text(GrammarCorpus): pass
def no_cell(*sizes): Path('called').touch()
"""
LOADS: dict[str, Callable[..., Any]] = {
    "words": rc.LanguageModel.from_pretrained,
    "airline": rc.Forecaster.from_pretrained,
    "heard": rc.Classifier.from_pretrained,
}
COMMANDS = [
    ["score", "words", "text.txt"],
    ["generate", "words"],
    ["suggest", "words", "the"],
    ["explain", "words", "the"],
    ["evaluate", "words"],
    ["mix", "words", "kn2", "--out", "made", "--data", "text.txt"],
    ["train", "words", "--data", "text.txt", "--out", "made", "--from", "words"],
    ["forecast", "airline"],
    ["backtest", "airline"],
    ["evaluate", "airline"],
    ["classify", "heard", "flowers.csv"],
]


def _campaign() -> ModuleType:
    path = ROOT / "tests" / "campaigns" / "hostile.py"
    spec = importlib.util.spec_from_file_location("hostile", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = _campaign()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Honest runs in the working directory, and a module of someone's own, not imported yet."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "mine_strange.py").write_text(MINE)
    (tmp_path / "flowers.csv").write_text("5.1,3.5,1.4,0.2\n")
    options = LabelNetworkOptions(hidden_size=3, noise=0.0)
    network = SequenceNetwork(options, 4, 3, torch.Generator().manual_seed(1))
    rc.Classifier(network, ("a", "b", "c")).save_pretrained(tmp_path / "heard" / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_strange", raising=False)
    return tmp_path


def edit(path: Path, *place: Any, to: Any) -> None:
    """Change a value in a JSON file, and seal its directory anew if it was sealed."""
    value = inner = json.loads(path.read_text())
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = to
    path.write_text(json.dumps(value))
    if (path.parent / "manifest.json").exists():
        hostile.reseal(path.parent)


def replaced(model: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change a model's tensors, and seal it anew."""
    tensors = load_tensors(model / "weights.safetensors")
    change(tensors)
    sink = io.BytesIO()
    write_tensors(tensors, sink)
    (model / "weights.safetensors").write_bytes(sink.getvalue())
    hostile.reseal(model)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: f"{words[0]}-{words[1]}")
def test_a_cell_that_a_model_names_is_not_imported(
    runs: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = next(word for word in words[1:] if word in LOADS)
    edit(runs / run / "model" / "model.json", "network", "cell", to="mine_strange:Mine")
    assert main(words) == 4
    said = capsys.readouterr().err
    asked = shlex.join(["recurra", *words, "--allow-import", "mine_strange:Mine"])
    assert said.rstrip().endswith(f"; here: {asked}")
    assert "names the cell 'mine_strange:Mine', code of someone's own" in said
    assert not (runs / "imported").exists() and "mine_strange" not in sys.modules


def test_the_command_that_the_refusal_prints_gives_it(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = LOADS["heard"]("heard").predict_proba([torch.ones(1, 4).numpy()])
    edit(runs / "heard" / "model" / "model.json", "network", "cell", to="mine_strange:Mine")
    main(["classify", "heard", "flowers.csv"])
    command = capsys.readouterr().err.partition("; here: recurra ")[2]
    assert main(shlex.split(command)) == 0
    assert (runs / "imported").exists()
    again = rc.Classifier.from_pretrained("heard", allow_import=["mine_strange:Mine"])
    assert (again.predict_proba([torch.ones(1, 4).numpy()]) == honest).all()


def test_consent_is_for_that_name_alone(runs: Path) -> None:
    edit(runs / "heard" / "model" / "model.json", "network", "cell", to="mine_strange:Mine")
    for other in ("mine_strange:no_cell", "mine_strange", "mine_strange:Min"):
        with pytest.raises(CheckpointError, match="code of someone's own"):
            rc.Classifier.from_pretrained("heard", allow_import=[other])
    with pytest.raises(ConfigError, match="allow_import is a list"):
        rc.Classifier.from_pretrained("heard", allow_import="mine_strange:Mine")
    assert not (runs / "imported").exists()


def test_a_cell_of_a_mixtures_member_is_not_imported(runs: Path) -> None:
    facts = runs / "words" / "mixture" / "model.json"
    models = json.loads(facts.read_text())["models"]
    number = next(n for n, each in enumerate(models) if each["kind"] == "network")
    edit(facts, "models", number, "network", "cell", to="mine_strange:Mine")
    with pytest.raises(CheckpointError, match="names the cell"):
        rc.LanguageModel.from_pretrained("words/mixture")
    assert not (runs / "imported").exists()


@pytest.mark.parametrize(
    ("run", "field", "kind"),
    [("words", "corpus", "corpus"), ("iris", "dataset", "dataset"),
     ("airline", "dataset", "dataset of series")],
)  # fmt: skip
def test_data_that_a_config_names_are_not_imported(
    runs: Path, run: str, field: str, kind: str
) -> None:
    edit(runs / run / "config.json", "data", field, to="mine_strange:Text")
    with pytest.raises(CheckpointError, match=f"{run} names the {kind} 'mine_strange:Text'"):
        rc.evaluate(run)
    if run == "words":
        assert main(["mix", run, run, "--out", "made"]) == 4
    assert not (runs / "imported").exists()
    if run == "words":
        assert rc.evaluate(run, allow_import=["mine_strange:Text"])["tokens"]


def test_series_that_a_forecaster_names_are_not_imported(runs: Path) -> None:
    edit(runs / "airline" / "model" / "model.json", "data", "dataset", to="mine_strange:Text")
    forecaster = rc.Forecaster.from_pretrained("airline")
    with pytest.raises(CheckpointError, match="the forecaster names the dataset of series"):
        rc.backtest(forecaster, forecaster.data)
    assert not (runs / "imported").exists()
    with pytest.raises(ConfigError, match="is not a dataset of series"):
        rc.backtest(forecaster, forecaster.data, allow_import=["mine_strange:Text"])
    assert (runs / "imported").exists(), "by consent"


@pytest.mark.parametrize(
    "name",
    [
        "recurra.language.text.corpora.base:Corpus",
        "recurra.series.datasets.base:SeriesSource",
        "recurra.labels.datasets.base:LabelSource",
        "recurra.labels.datasets.given:Given",
        "recurra.language.text.corpora.files:FileCorpus",
        "~nobody-of-this-name/data.csv",
        "a" * 300,
        "/proc/self/mem",
        "\0",
    ],
)
@pytest.mark.parametrize(
    ("run", "field"), [("words", "corpus"), ("iris", "dataset"), ("airline", "dataset")]
)
def test_whatever_data_a_config_names_is_found_or_refused(
    runs: Path, run: str, field: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(runs / run / "config.json", "data", field, to=name)
    assert main(["evaluate", run]) in (3, 4)
    assert "unexpected" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["recurra.nn.wrappers.stack:Stack", "recurra.nn.cells.base:Cell"])
@pytest.mark.parametrize("run", LOADS)
def test_no_class_of_the_package_is_a_cell_without_a_name(runs: Path, run: str, name: str) -> None:
    edit(runs / run / "model" / "model.json", "network", "cell", to=name)
    with pytest.raises(CheckpointError, match="is no cell that has a name"):
        LOADS[run](run)


@pytest.mark.parametrize("name", ["os:kill", "mine_strange:no_cell", "torch.nn:LSTM", "os:environ"])
@pytest.mark.parametrize("run", LOADS)
def test_nothing_but_a_cell_is_called(runs: Path, run: str, name: str) -> None:
    edit(runs / run / "model" / "model.json", "network", "cell", to=name)
    sys.path.append(str(runs))
    importlib.import_module(name.partition(":")[0])
    with pytest.raises(CheckpointError, match="is not a cell: derive it from"):
        LOADS[run](run)
    assert not (runs / "called").exists()
    # what one allows may be a function that makes a cell; it is called, and seen to make none
    said = "got NoneType" if name == "mine_strange:no_cell" else "is not a cell: derive it from"
    with pytest.raises(CheckpointError, match=said):
        LOADS[run](run, allow_import=[name])
    assert (runs / "called").exists() == (name == "mine_strange:no_cell")


def test_a_class_that_is_imported_already_is_taken(runs: Path) -> None:
    edit(runs / "heard" / "model" / "model.json", "network", "cell", to="mine_strange:Mine")
    sys.path.append(str(runs))
    importlib.import_module("mine_strange")
    assert rc.Classifier.from_pretrained("heard").classes


def test_a_run_with_a_cell_of_ones_own_asks_for_it_in_every_later_command(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "words", "--data", "text.txt", "--set", "network.cell=mine_strange:Mine"]
    words += ["--set", "train.steps=2", "--set", "network.hidden_size=4", "--out", "own"]
    assert main(words) == 0
    monkeypatch.delitem(sys.modules, "mine_strange")
    assert main(words) == 0, "the same command is the same consent"
    assert main(["evaluate", "own"]) == 4
    assert "--allow-import mine_strange:Mine" in capsys.readouterr().err
    assert main(["evaluate", "own", "--allow-import", "mine_strange:Mine"]) == 0


def test_a_cell_of_ones_own_may_look_up_another(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "mine_made.py").write_text(
        "import recurra as rc\nfrom recurra.nn.cells.lstm import LSTMCell\n"
        "class Made(LSTMCell):\n"
        "    def __init__(self, *sizes, **options):\n"
        "        rc.CELLS['mine_strange:Mine']\n"
        "        super().__init__(*sizes, **options)\n"
    )
    words = ["train", "words", "--data", "text.txt", "--set", "network.cell=mine_made:Made"]
    words += ["--set", "train.steps=2", "--set", "network.hidden_size=4", "--out", "own"]
    assert main(words) == 0
    for name in ("mine_strange", "mine_made"):
        monkeypatch.delitem(sys.modules, name)
    command = ["evaluate", "own"]
    for _ in "ab":  # each refusal names one more, and prints the command that gives it
        assert main(command) == 4
        command = shlex.split(capsys.readouterr().err.partition("; here: recurra ")[2])
    assert main(command) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("run", LOADS)
def test_weights_that_are_no_numbers_are_refused(runs: Path, run: str, value: float) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not name.startswith("history."):
                tensor.fill_(value)

    replaced(runs / run / "model", spoil)
    with pytest.raises(CheckpointError, match=r"must be finite|is negative or infinite"):
        LOADS[run](run)


def test_statistics_that_are_no_numbers_are_refused(runs: Path) -> None:
    whole = load_tensors(runs / "words" / "mixture" / "weights.safetensors")
    for name in (name for name, tensor in whole.items() if tensor.is_floating_point()):
        shutil.copytree(WRITTEN / "words" / "mixture", "bad")
        replaced(runs / "bad", lambda t, n=name: t[n].view(-1)[-1:].fill_(float("nan")))
        with pytest.raises(CheckpointError):
            rc.LanguageModel.from_pretrained("bad")
        shutil.rmtree("bad")


@pytest.mark.parametrize("run", [*LOADS, "kn2"])
def test_gigabytes_of_sparse_weights_are_refused_by_their_header(runs: Path, run: str) -> None:
    path = runs / run / "model" / "weights.safetensors"
    name = min(load_tensors(path))
    size = 2**33
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["files"][path.name]["size"] = path.stat().st_size
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    begun = time.process_time()  # not the clock: others may be at work
    with pytest.raises(CheckpointError, match=r"missing|members is"):
        LOADS.get(run, rc.LanguageModel.from_pretrained)(run)
    assert time.process_time() - begun < 2


def test_a_vocabulary_of_empty_lists_is_refused_unparsed(runs: Path) -> None:
    vocabulary = runs / "words" / "model" / "vocabulary.json"
    vocabulary.write_bytes(b'{"tokens": [' + b"[]," * 10_000_000 + b"[]]}")
    begun = time.process_time()  # not the clock: others may be at work
    with pytest.raises(CheckpointError, match="not of the form"):
        Vocabulary.from_json(vocabulary.read_bytes())
    with vocabulary.open("ab") as file:
        file.truncate(180_000_000)
    manifest = vocabulary.parent / "manifest.json"
    edited = json.loads(manifest.read_text())
    edited["files"][vocabulary.name]["size"] = 180_000_000
    manifest.write_text(json.dumps(edited))
    with pytest.raises(CheckpointError, match=r"180,000,000 bytes, over 67,108,864: .*MOST_MB=180"):
        rc.LanguageModel.from_pretrained("words")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("run", "place", "value", "said"),
    [
        ("airline", ["history", "frequency", "count"], "1e999", "1e999, which is not finite"),
        ("airline", ["shape", "context"], True, "shape: context is True"),
        ("airline", ["scaling", "season"], "12", "scaling: season is '12'"),
        ("heard", ["input_size"], True, "input_size is True"),
        ("heard", ["network", "members"], 10**30, "more than 64 bits"),
        ("words", ["network", "hidden_size"], "4", "hidden_size is '4'"),
        ("words", ["network", "tied"], 1, "tied is 1"),
    ],
)
def test_values_of_another_kind_are_refused_by_field(
    runs: Path, run: str, place: list[str], value: Any, said: str
) -> None:
    path = runs / run / "model" / "model.json"
    edit(path, *place, to="PLACE" if value == "1e999" else value)
    path.write_text(path.read_text().replace('"PLACE"', "1e999"))
    hostile.reseal(path.parent)
    with pytest.raises(CheckpointError, match=rf"model\.json.*{said}"):
        LOADS[run](run)


def test_every_leaf_of_a_report_may_be_wrong(runs: Path) -> None:
    path = runs / "words" / "report.json"
    whole = json.loads(path.read_text())
    refused, drawn = 0, random.Random(1)
    for place in filter(None, hostile.leaves(whole)):
        for value in drawn.sample([None, True, "x", 1e308, [], {"a": []}], 2):
            edit(path, *place, to=value)
            try:
                render(RunDirectory("words").report() or {})
            except CheckpointError as error:
                assert f"{Path('words/report.json')}: " in str(error)
                refused += 1
            path.write_text(json.dumps(whole))
    assert refused > 40
    edit(path, "test", "perplexity", to=[[1]])
    assert main(["compare", "words"]) == 4


@pytest.mark.parametrize("line", ["[" * 100_000, '{"step": [[]]}', '{"step": 1e999}', "x" * 10**6])
def test_lines_of_metrics_that_are_none_are_left_out(runs: Path, line: str) -> None:
    path = runs / "stopped" / "metrics.jsonl"
    good = RunDirectory(path.parent).metrics.records()
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    assert RunDirectory(path.parent).metrics.records() == good


def test_a_checkpoint_that_lacks_what_a_training_needs_is_refused(runs: Path) -> None:
    config = RunDirectory(WRITTEN / "stopped").config()
    assert config is not None
    for place, value, said in [
        (["facts", "optimizer"], "adam", "optimizer is 'adam'"),
        (["facts", "seconds"], -1, "seconds is -1"),
        (["facts", "optimizer", "groups", 0, "lr"], "high", "optimizer: lr is 'high'"),
    ]:
        shutil.rmtree("stopped")
        shutil.copytree(WRITTEN / "stopped", "stopped")
        edit(runs / "stopped" / "checkpoints" / "step-00000020" / "facts.json", *place, to=value)
        with pytest.raises(CheckpointError, match=said):
            list(rc.train(config, out="stopped", should_stop=lambda: True))


@pytest.mark.parametrize("name", ["weights", "optimizer", "extra"])
def test_gigabytes_of_a_sparse_checkpoint_are_refused_unread(runs: Path, name: str) -> None:
    config = RunDirectory("stopped").config()
    assert config is not None
    for place in (runs / "stopped" / "checkpoints").iterdir():
        path = place / f"{name}.safetensors"
        with path.open("wb") as file:
            file.truncate(2**33)
        manifest = json.loads((place / "manifest.json").read_text())
        manifest["files"][path.name] = {"size": 2**33, "sha256": "0" * 64}
        (place / "manifest.json").write_text(json.dumps(manifest))
    begun = time.process_time()  # not the clock: others may be at work
    with pytest.raises(CheckpointError, match=r"bytes, over the [\d,]+ of such a training"):
        list(rc.train(config, out="stopped", should_stop=lambda: True))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("step", [-1, 0, 19, 10**17])
def test_a_checkpoint_of_another_step_is_refused(runs: Path, step: int) -> None:
    config = RunDirectory("stopped").config()
    assert config is not None
    place = runs / "stopped" / "checkpoints" / "step-00000020"
    shutil.rmtree(place.with_name("step-00000019"))
    edit(place / "facts.json", "step", to=step)
    if step > 20:  # under its name it is intact, and beyond the end
        place.rename(place.with_name(f"step-{step}"))
    with pytest.raises(CheckpointError, match=r"expected step and facts|lies beyond the \d+ steps"):
        list(rc.train(config, out="stopped", should_stop=lambda: True))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
def test_altered_models_and_runs_do_nothing(tmp_path: Path) -> None:
    """The seeded part of the campaign: `make campaign hostile` is the whole."""
    before = Path.cwd()
    ways = ("score", "suggest", "classify", "forecast")
    found = hostile.run(7, 40, 0, ("airline", "iris", "kn2", "words"), ways)
    assert (found["failed"], found["faults"]) == (0, [])
    assert Path.cwd() == before and found["codes"].get("4", 0) > 15
