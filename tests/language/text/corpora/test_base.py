from __future__ import annotations

import pytest

from recurra.language.options import TextOptions
from recurra.language.text.corpora.base import Corpus, digest


class Least(Corpus):
    def splits(self):
        return ("train",)

    def chunks(self, split):
        yield "text"

    def fingerprint(self):
        self.looked = True
        return "least"


def test_what_a_corpus_need_not_say():
    corpus = Least(TextOptions(corpus="least"))
    assert corpus.rule == "words"
    assert corpus.place("train") == "the corpus least"
    assert corpus.replaced("train") == 0
    assert corpus.found() == "made on this machine"


def test_verifying_reads_it_all():
    corpus = Least(TextOptions())
    corpus.verify()
    assert corpus.looked


def test_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Corpus(TextOptions())


class TestDigest:
    def test_depends_on_every_fact(self):
        assert len({digest(), digest("a"), digest("a", 1), digest("a", "1"), digest("a1")}) == 5

    def test_is_stable(self):
        assert digest({"b": 1, "a": None}) == digest({"b": 1, "a": None})
        assert len(digest(1)) == 64
