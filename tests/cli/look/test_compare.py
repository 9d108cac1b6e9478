"""`recurra compare`: several runs and their baselines in one table."""

from __future__ import annotations

import pytest

from recurra.labels.entry import LabelRun
from recurra.language.entry import LanguageRun
from recurra.learning.config import RunConfig, with_data, with_settings
from recurra.learning.event import Finished, Validated
from recurra.run.asked import Asked
from recurra.run.directory import RunDirectory
from recurra.run.report import Judged, compose
from recurra.series.entry import SeriesRun

NAIVE = {"mase": 1.2, "crps": 0.04}


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A function that leaves a finished run of these metrics."""
    monkeypatch.chdir(tmp_path)

    def leave(name: str, config: RunConfig, judged: Judged, **results) -> None:
        directory = RunDirectory(name)
        directory.path.mkdir()
        directory.write_config(config)
        given = {"valid": None, "test": None, "baselines": {}, **results}
        report = compose(
            Asked(config, directory.path), Finished(1, 1.0, seconds=1.0, items=1), seconds=1.0,
            judged=judged, **given,
        )  # fmt: skip
        directory.write_report(report)

    return leave


MASE = Judged("mase", "lower", "windows")
SERIES = SeriesRun(preset="mine")


def test_the_best_is_first_and_a_baseline_stands_there_once(recurra, finished):
    finished("wide", SERIES, MASE, test={"mase": 0.9, "crps": 0.03}, baselines={"naive": NAIVE})
    finished("deep", SERIES, MASE, test={"mase": 0.8, "crps": 0.02}, baselines={"naive": NAIVE})
    finished("lost", SERIES, MASE, test={"mase": None}, baselines={"naive": NAIVE})
    answer = recurra("compare", "wide", "deep", "lost", "wide/")
    assert answer.err == ""
    assert answer.out.splitlines() == [
        "       test MASE     CRPS",
        "deep       0.800   0.0200",
        "wide       0.900   0.0300",
        "naive      1.200   0.0400",
        "lost           -        -",
    ]
    found = recurra("compare", "wide", "deep", "--json").json
    assert found["judged"] == {"metric": "mase", "better": "lower"}
    assert [row["name"] for row in found["systems"]] == ["deep", "wide", "naive"]
    assert [row["run"] for row in found["systems"]] == ["deep", "wide", None]
    assert found["systems"][0] | {"split": "test"} == found["systems"][0]
    assert found["systems"][2]["metrics"] == NAIVE


def test_the_highest_accuracy_is_the_best(recurra, finished):
    judged = Judged("accuracy", "higher", "examples")
    for name, accuracy in (("a", 0.9), ("b", 0.97)):
        finished(name, LabelRun(preset="mine"), judged, test={"accuracy": accuracy})
    lines = recurra("compare", "a", "b").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["b", "a"]


def test_baselines_of_different_data_are_told_apart(recurra, finished):
    finished("a", SERIES, MASE, test={"mase": 0.9}, baselines={"naive": {"mase": 1.0}})
    other = with_data(SERIES, "sunspots")
    finished("b", other, MASE, valid={"mase": 0.7}, baselines={"naive": {"mase": 2.0}})
    answer = recurra("compare", "a", "b")
    assert answer.err == "these runs learned from different data: airline, sunspots\n"
    names = [line.rpartition(")")[0] + ")" for line in answer.out.splitlines()[1:]]
    assert names == [
        "b (dataset=sunspots) (validation)",
        "a (dataset=airline) (test)",
        "naive of a (test)",
        "naive of b (validation)",
    ]


def test_different_metrics_do_not_compare(recurra, finished):
    finished("a", SERIES, MASE, test={"mase": 0.9})
    finished("b", LanguageRun(preset="mine"), Judged(), test={"perplexity": 90.0})
    answer = recurra("compare", "a", "b")
    assert (answer.code, answer.out) == (2, "")
    assert "judged by different metrics: a by mase, b by perplexity" in answer.err


def test_an_unfinished_run_is_named(recurra, finished, tmp_path):
    finished("a", SERIES, MASE, test={"mase": 0.9})
    (tmp_path / "b").mkdir()
    answer = recurra("compare", "a", "b")
    assert answer.code == 1
    assert "b has no report.json: it is not a run, or not finished" in answer.err


def text(perplexity, bits=1.2, **others):
    entry = {"tokens": 100, "oov": 0, "perplexity": perplexity, "bits_per_char": bits}
    return {key: value for key, value in (entry | others).items() if value is not None}


def language(*changes):
    return with_settings(LanguageRun(preset="mine"), list(changes))


def test_runs_of_several_seeds_are_averaged(recurra, finished):
    for seed, perplexity in ((1, 80.0), (2, 84.0), (3, 88.0)):
        mixed = {"valid": None, "test": text(perplexity - 10), "parts": {}}
        finished(
            f"s{seed}", language(f"seed={seed}"), Judged(),
            test=text(perplexity, perplexity_low=1.0), baselines={"kn5": text(141.2)},
            extras={"mixture": mixed},
        )  # fmt: skip
    finished("wide", language("network.hidden_size=400"), Judged(), test=text(82.0))
    answer = recurra("compare", "s1", "s2", "s3", "wide")
    assert [line.rsplit(maxsplit=2)[0].rstrip() for line in answer.out.splitlines()[1:]] == [
        "s1/mixture (hidden_size=200, seed=1)",
        "s2/mixture (hidden_size=200, seed=2)",
        "hidden_size=200/mixture, 3 seeds (± 4.0)",
        "s3/mixture (hidden_size=200, seed=3)",
        "s1 (hidden_size=200, seed=1)",
        "wide (hidden_size=400, seed=1)",
        "s2 (hidden_size=200, seed=2)",
        "hidden_size=200, 3 seeds (± 4.0)",
        "s3 (hidden_size=200, seed=3)",
        "kn5",
    ]
    rows = recurra("compare", "s1", "s2", "s3", "wide", "--json").json["systems"]
    row = next(row for row in rows if row["name"].startswith("hidden_size=200,"))
    assert row["metrics"] == {
        "tokens": 100, "oov": 0, "perplexity": 84.0, "bits_per_char": pytest.approx(1.2)
    }  # fmt: skip
    assert row["deviation"]["perplexity"] == pytest.approx(4.0)
    assert (row["run"], row["runs"]) == (None, ["s1", "s2", "s3"])
    mixed = next(row for row in rows if row["name"] == "s2/mixture")
    assert (mixed["run"], mixed["metrics"]["perplexity"]) == ("s2", 74.0)


def test_groups_are_named_by_the_settings_in_which_they_differ(recurra, finished):
    names = []
    for cell, perplexity in (("lstm", 80.0), ("gru", 70.0), ("mlstm", 60.0), ("rnn", 90.0)):
        for seed in (1, 2):
            names.append(f"cell={cell},seed={seed}")
            finished(names[-1], language(f"network.cell={cell}", f"seed={seed}"), Judged(),
                     test=text(perplexity + seed))  # fmt: skip
    lines = recurra("compare", *names).out.splitlines()[1:]
    assert [line.partition(" seeds")[0] for line in lines if " seeds" in line] == [
        "cell=mlstm, 2", "cell=gru, 2", "cell=lstm, 2", "cell=rnn, 2"
    ]  # fmt: skip
    assert lines[0].startswith("cell=mlstm,seed=1  ")  # its name says already what tells it apart
    rows = recurra("compare", *names, "--json").json["systems"]
    assert rows[0]["settings"] == {"network.cell": "mlstm", "seed": 1}
    (mean,) = (row for row in rows if row["name"].startswith("cell=gru, 2 seeds"))
    assert mean["settings"] == {"network.cell": "gru"}


def test_other_presets_are_told_by_name_and_what_follows_from_them_is_not_listed(recurra, finished):
    for name, preset_, size in (("a", "mine", 200), ("b", "theirs", 300)):
        config = with_settings(LanguageRun(preset=preset_), [f"network.hidden_size={size}"])
        finished(name, config, Judged(), test=text(size / 2))
    lines = recurra("compare", "a", "b").out.splitlines()[1:]
    assert [line.rsplit(maxsplit=2)[0].rstrip() for line in lines] == ["a (mine)", "b (theirs)"]


def test_the_same_seed_twice_is_no_group(recurra, finished):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        finished(name, language(f"seed={seed}"), Judged(), test=text(80.0 + seed))
    assert "seeds" not in recurra("compare", "a", "b", "c").out


@pytest.mark.parametrize(
    "change", ["data.rule=bpe", "data.vocabulary_size=50", "data.min_count=3", "data.corpus=ptb"]
)
def test_perplexities_of_different_vocabularies_are_not_compared(recurra, finished, change):
    finished("a", language(), Judged(), test=text(90.0, bits=1.2))
    finished("b", language(change), Judged(), test=text(20.0, bits=1.4))
    answer = recurra("compare", "a", "b")
    said = "their vocabularies differ: they are ordered by bits per character, not perplexity\n"
    assert answer.err.endswith(said)
    heading, *rows = answer.out.splitlines()
    assert [row.split()[0] for row in rows] == ["a", "b"]
    assert heading.split()[:4] == ["test", "bits", "per", "char"]
    assert "perplexity" in heading
    judged = recurra("compare", "a", "b", "--json").json["judged"]
    assert judged == {"metric": "bits_per_char", "better": "lower"}


def test_the_vocabulary_itself_says_whether_it_is_the_same(recurra, finished, tmp_path):
    for name, change, size in (("a", "data.rule=auto", 3), ("b", "data.rule=words", 3)):
        finished(name, language(change), Judged(), test=text(90.0))
        (tmp_path / name / "model").mkdir()
        (tmp_path / name / "model" / "vocabulary.json").write_text(str(size))
    assert recurra("compare", "a", "b").err == ""
    (tmp_path / "b" / "model" / "vocabulary.json").write_text("4")
    assert "vocabularies differ" in recurra("compare", "a", "b").err


def test_without_bits_per_character_they_are_refused(recurra, finished):
    finished("a", language(), Judged(), test=text(90.0))
    finished("b", language("data.rule=characters"), Judged(), test=text(3.0, bits=None))
    answer = recurra("compare", "a", "b")
    assert (answer.code, answer.out) == (2, "")
    assert "do not compare, and b says no bits_per_char" in answer.err
    assert answer.err.count("\n") == 1


def test_a_picture_is_drawn(recurra, finished, tmp_path, monkeypatch):
    from recurra.run.plot import comparison

    for seed in (1, 2):
        finished(f"s{seed}", language(f"seed={seed}"), Judged(), test=text(80.0 + seed),
                 valid=text(84.0), baselines={"kn5": text(141.2)})  # fmt: skip
        log = RunDirectory(f"s{seed}").metrics
        log.append(Validated(9, 1.0, text(84.0), True, 1.0))
    finished("wide", language("network.hidden_size=400"), Judged(), test=text(79.0))
    drawn, draw = [], comparison.draw

    def watched(*args, **named):
        drawn.append(args)
        draw(*args, **named)

    monkeypatch.setattr(comparison, "draw", watched)
    assert recurra("compare", "s1", "s2", "wide", "--plot", "c.png").code == 0
    _, curves, baselines = drawn[0]
    assert [each.name for each in curves] == ["hidden_size=200"] * 2 + ["hidden_size=400"]
    assert [each.points for each in curves] == [((1 / 60, 84.0),)] * 2 + [()]
    assert baselines == [("kn5 on test", 141.2)]
    (tmp_path / "c.png").unlink()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert recurra("compare", "s1", "wide", "--plot", "c.png").code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
