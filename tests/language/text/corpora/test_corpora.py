from __future__ import annotations

import os
import sys

import pytest

from recurra.errors import ConfigError, DataError
from recurra.language.options import TextOptions
from recurra.language.text.corpora import CORPORA, open_corpus
from recurra.language.text.corpora.base import Corpus
from recurra.language.text.corpora.files import DirectoryCorpus, FileCorpus


def open_(name):
    return open_corpus(TextOptions(corpus=str(name)))


@pytest.mark.parametrize("name", list(CORPORA))
def test_every_entry_is_a_corpus(name, monkeypatch, tmp_path):
    if name == "ptb":
        monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    corpus = open_(name)
    assert isinstance(corpus, Corpus)
    assert corpus.splits() == ("train", "valid", "test")
    assert corpus.rule in ("split", "words", "characters")
    assert type(corpus).__doc__


def test_names():
    assert list(CORPORA) == ["docstrings", "grammar", "ptb"]


def test_directory_and_file(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    assert isinstance(open_(tmp_path), DirectoryCorpus)
    assert isinstance(open_(tmp_path / "train.txt"), FileCorpus)


def test_relative_path_and_tilde(tmp_path, monkeypatch):
    (tmp_path / "text").write_text("a\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert isinstance(open_("text"), FileCorpus)
    assert isinstance(open_("~/text"), FileCorpus)


def test_a_name_goes_before_a_path(tmp_path, monkeypatch):
    (tmp_path / "grammar").mkdir()
    monkeypatch.chdir(tmp_path)
    assert type(open_("grammar")).__name__ == "GrammarCorpus"


@pytest.mark.parametrize("name", ["nowhere.txt", "nowhere/text", "/nowhere"])
def test_a_path_that_is_not_there(name):
    with pytest.raises(DataError, match=r"nowhere.* cannot be read: No such file"):
        open_(name)


def test_an_unknown_name():
    with pytest.raises(ConfigError, match=r"no corpus is named 'pbt'. Did you mean 'ptb'\?"):
        open_("pbt")


def test_names_that_systems_refuse():
    with pytest.raises((ConfigError, DataError)):
        open_("x" * 100_000)
    with pytest.raises((ConfigError, DataError)):
        open_("nul\x00/here")


@pytest.mark.parametrize("name", ["no.such.module:Corpus", "collections:NoSuchName"])
def test_module_that_is_not_there(name):
    with pytest.raises(ConfigError, match="cannot be imported"):
        open_(name)


def test_something_that_is_no_corpus(tmp_path, monkeypatch):
    (tmp_path / "my_texts.py").write_text("class Text:\n    def __init__(self, options): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ConfigError, match="'my_texts:Text' is not a corpus: derive it from"):
        open_("my_texts:Text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        open_(tmp_path / "pipe")
