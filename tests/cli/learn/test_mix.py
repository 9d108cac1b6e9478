"""`recurra mix`: finished language models as one."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from recurra.cli.learn import mix
from recurra.language import mixing
from recurra.language.entry import LanguageRun, NgramRun
from recurra.language.models.base import LanguageModel
from recurra.language.models.cache import CacheModel
from recurra.language.options import NetworkOptions, NgramOptions, TextOptions
from recurra.learning.options import TrainOptions
from recurra.run.session import train
from recurra.storage import sealed

LINES = "the cat sat on the mat .\na dog barked at the cat .\nthe dog sat .\n"
DATA = TextOptions(corpus="text", rule="split", chunk_length=5)
NETWORK = LanguageRun(
    preset="mine",
    threads=1,
    data=DATA,
    network=NetworkOptions(hidden_size=6, num_layers=1),
    train=TrainOptions(steps=30, batch_size=8, optimizer="adam", learning_rate=0.02),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A text, and two finished runs of it, `net` and `counts`."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "text").mkdir()
    for split, count in {"train": 60, "valid": 8, "test": 6}.items():
        (folder / "text" / f"{split}.txt").write_text(LINES * count)
    counts = NgramRun(preset="kn", threads=1, data=DATA, ngram=NgramOptions(order=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RECURRA_CACHE", str(folder / "cache"))
        for name, config in {"net": NETWORK, "counts": counts}.items():
            list(train(config, out=folder / name))
    return folder


@pytest.fixture
def runs(recurra, tmp_path, trained):
    """Two finished runs of one text, `net` and `counts`, in the working directory."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_two_runs_and_all_that_can_be_added(recurra, runs):
    flags = ["--cache", "--unigram-cache", "--dynamic", "--ngram=3", "--buckets=previous"]
    answer = recurra("mix", "net", "counts", *flags, "--out", "both", "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert found.keys() == {"model", "valid", "test", "parts"}
    assert found["model"] == "both"
    assert list(found["parts"]) == [
        "net",
        "counts",
        "net_cache",
        "net_dynamic",
        "net_dynamic_cache",
        "kn3",
        "kn3_cache",
    ]
    alone = [part["test_perplexity"] for part in found["parts"].values()]
    assert sum(part["weight"] for part in found["parts"].values()) == pytest.approx(1)
    assert found["test"]["perplexity"] < max(alone)
    net = recurra("evaluate", "net", "--json").json
    assert found["parts"]["net"]["test_perplexity"] == pytest.approx(net["perplexity"], rel=1e-6)
    loaded = LanguageModel.from_pretrained("both")
    assert [part.kind for part in loaded.inner[:2]] == ["network", "ngram"]
    assert isinstance(loaded.inner[2], CacheModel)
    again = recurra("evaluate", "both", "--data", "text", "--json").json
    assert again["perplexity"] == pytest.approx(found["test"]["perplexity"], rel=1e-6)


def test_the_table_has_a_line_for_each_part(recurra, runs):
    answer = recurra("mix", "net", "counts", "--out", "both")
    assert (answer.code, answer.err) == (0, "")
    heading, *rows, _, place = answer.out.splitlines()
    assert heading.split() == ["weight", "test", "perplexity", "without", "it"]
    assert [row.split()[0] for row in rows] == ["net", "counts", "mixture"]
    weights = [float(row.split()[1]) for row in rows[:2]]
    assert sum(weights) == pytest.approx(1, abs=0.002)
    assert rows[0].split()[3] == rows[1].split()[2], "without the one, the other alone is left"
    assert place.split() == ["model", "both"]


def test_a_mixture_is_replaced_and_nothing_else_is(recurra, runs):
    assert recurra("mix", "counts", "--unigram-cache", "--out", "both").code == 0
    assert recurra("mix", "counts", "net", "--out", "both").code == 0
    assert len(LanguageModel.from_pretrained("both").inner) == 2
    (runs / "mine").mkdir()
    (runs / "mine" / "notes.txt").write_text("kept")
    (runs / "net" / "model").rename(runs / "alone")
    before = contents(runs)
    for place, why in {
        "net": "net holds .lock, which is no part of a model of Recurra, so it is not replaced",
        "net/model": f"net/model would lie in the run {runs / 'net'}; give another --out",
        "counts/model": f"counts/model would lie in the run {runs / 'counts'}; give another",
        "counts/mixture": f"counts/mixture would lie in the run {runs / 'counts'}; give another",
        "alone": "alone is there already and is no mixture; give another --out",
        "mine": "mine holds notes.txt, which is no part of a model of Recurra, so it is not",
        "text": "text holds test.txt, which is no part of a model of Recurra, so it is not",
        "text/train.txt": "text/train.txt is there already and is no folder; give another",
        ".": "is the folder one works in; give one in it for the model",
        "..": "is the folder one works in; give one in it for the model",
        "": "it is empty; give a name",
        "/": "is no place for results; give a folder in it",
    }.items():
        answer = recurra("mix", "counts", "--unigram-cache", "--out", place)
        assert (answer.code, answer.out) == (2, ""), place
        assert why in answer.err
    assert contents(runs) == before


def contents(folder):
    files = (path for path in folder.rglob("*") if "cache" not in path.parts)
    return {path: path.is_file() and (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_mixture_with_a_file_of_someone_s_in_it_is_not_replaced(recurra, runs):
    assert recurra("mix", "counts", "--unigram-cache", "--out", "both").code == 0
    (runs / "both" / "README.md").write_text("what it is")
    answer = recurra("mix", "counts", "net", "--out", "both")
    assert (answer.code, answer.out) == (2, "")
    assert "both holds README.md, which is no part of a model of Recurra" in answer.err
    assert (runs / "both" / "README.md").read_text() == "what it is"


def test_through_a_link_the_mixture_it_leads_to_is_replaced(recurra, runs):
    (runs / "elsewhere").mkdir()
    (runs / "link").symlink_to("elsewhere")
    assert recurra("mix", "counts", "--unigram-cache", "--out", "link").code == 0
    assert (runs / "link").is_symlink()
    assert LanguageModel.from_pretrained("elsewhere").kind == "mixture"


def test_a_place_that_refuses_is_said_before_anything_is_mixed(recurra, runs, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != runs)  # root may write anywhere
    monkeypatch.setattr(mixing, "learn_mixture", None)
    answer = recurra("mix", "counts", "--unigram-cache", "--out", "both")
    assert (answer.code, answer.out) == (1, "")
    assert "cannot be written to (Permission denied; " in answer.err and "--out" in answer.err


def test_what_was_mixed_is_printed_before_it_is_written(recurra, runs, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    for words in ([], ["--json"]):
        with monkeypatch.context() as patch:
            patch.setattr(sealed, "create", full)
            answer = recurra("mix", "counts", "--unigram-cache", "--out", "both", *words)
        assert answer.code == 5 and "No space left on device" in answer.err
        assert "mixture" in answer.out or answer.json["parts"]
        assert not (runs / "both").exists()


def test_a_mixture_can_be_mixed_again(recurra, runs):
    recurra("mix", "counts", "--unigram-cache", "--out", "cached")
    answer = recurra("mix", "cached", "net", "--data", "text", "--out", "all", "--json")
    assert list(answer.json["parts"]) == ["cached", "net"]
    assert LanguageModel.from_pretrained("all").inner[0].kind == "mixture"


def test_models_of_two_vocabularies_are_refused(recurra, runs):
    (runs / "other.txt").write_text("this is quite another text .\n" * 200)
    config = NgramRun(preset="kn", data=TextOptions(corpus="other.txt", rule="split"))
    list(train(config, out=runs / "other"))
    answer = recurra("mix", "net", "other", "--out", "both")
    assert (answer.code, answer.out) == (2, "")
    assert "other has another vocabulary" in answer.err
    assert not (runs / "both").exists()


def test_what_needs_a_network_and_has_none_is_refused(recurra, runs):
    for flag in ("--cache", "--dynamic"):
        answer = recurra("mix", "counts", flag, "--out", "both")
        assert (answer.code, answer.out) == (2, "")
        assert "need a network" in answer.err


def test_a_model_without_a_run_does_not_know_its_text(recurra, runs):
    (runs / "net" / "model").rename(runs / "alone")
    answer = recurra("mix", "alone", "counts", "--out", "both")
    assert (answer.code, answer.out) == (2, "")
    assert "alone does not say what text it learned from; give --data" in answer.err
    assert recurra("mix", "alone", "counts", "--data", "text", "--out", "both").code == 0


def test_a_text_without_validation_cannot_teach_weights(recurra, runs):
    (runs / "text" / "valid.txt").unlink()
    answer = recurra("mix", "net", "counts", "--out", "both")
    assert answer.code in (2, 3)
    assert "valid" in answer.err
    assert not (runs / "both").exists()


def test_runs_of_one_name_stay_two(recurra, runs):
    (runs / "other").mkdir()
    (runs / "counts").rename(runs / "other" / "net")
    answer = recurra("mix", "net", "other/net", "net/model", "--out", "both", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert list(answer.json["parts"]) == [str(runs / "net"), str(runs / "other" / "net")]
    assert [part.kind for part in LanguageModel.from_pretrained("both").inner] == [
        "network",
        "ngram",
    ]


def test_an_empty_directory_is_free(recurra, runs):
    (runs / "both").mkdir()
    assert recurra("mix", "net", "counts", "--out", "both").code == 0


def test_mix_out_mixed_evaluate_mixed(recurra, runs):
    mixed = recurra("mix", "net", "counts", "--out", "mixed", "--json").json
    found = recurra("evaluate", "mixed", "--json").json
    assert found["perplexity"] == pytest.approx(mixed["test"]["perplexity"], rel=1e-6)
    valid = recurra("evaluate", "mixed", "--split", "valid", "--json").json
    assert valid["perplexity"] == pytest.approx(mixed["valid"]["perplexity"], rel=1e-6)
    again = recurra("mix", "mixed", "counts", "--out", "again", "--json").json
    assert again["test"] is not None


def test_a_mixture_of_files_knows_the_text_that_was_named(recurra, runs):
    LanguageModel.from_pretrained("counts").to_arpa(runs / "counts.arpa")
    words = ["mix", "counts.arpa", "--unigram-cache", "--data", "text", "--out", "mixed", "--json"]
    mixed = recurra(*words).json
    found = recurra("evaluate", "mixed", "--json").json
    assert found["perplexity"] == pytest.approx(mixed["test"]["perplexity"], rel=1e-6)


def test_what_a_mixture_keeps_of_its_text_is_checked(recurra, runs):
    assert recurra("mix", "net", "counts", "--out", "mixed").code == 0
    kept = runs / "mixed" / "learned.json"
    kept.write_bytes(kept.read_bytes().replace(b'"text"', b'"tixt"'))
    answer = recurra("evaluate", "mixed")
    assert (answer.code, answer.out) == (4, "") and "learned.json" in answer.err


def test_an_arpa_file_is_evaluated_like_the_run_it_is_from(recurra, runs):
    LanguageModel.from_pretrained("counts").to_arpa(runs / "counts.arpa")
    ours = recurra("evaluate", "counts", "--json").json
    theirs = recurra("evaluate", "counts.arpa", "--data", "text", "--json").json
    assert theirs["perplexity"] == pytest.approx(ours["perplexity"], rel=1e-9)
    assert recurra("evaluate", "counts.arpa").code == 2


def test_a_reader_that_is_gone_costs_no_mixture(recurra, runs, monkeypatch):
    def gone(*_):
        raise BrokenPipeError

    monkeypatch.setattr(mix, "print_lines", gone)
    monkeypatch.setattr("recurra.cli._silence_stdout", lambda: None)
    assert recurra("mix", "net", "counts", "--out", "both").code == 141
    assert LanguageModel.from_pretrained("both").inner
