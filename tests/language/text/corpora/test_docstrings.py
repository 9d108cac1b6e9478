from __future__ import annotations

import time

import pytest

from recurra.errors import DataError
from recurra.language.options import TextOptions
from recurra.language.text.corpora import docstrings
from recurra.language.text.corpora.docstrings import DocstringsCorpus
from recurra.language.text.dataset import TextDataset

PROSE = "The quick brown fox jumps over the lazy dog number "


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small standard library in place of the true one."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: str(folder))
    return folder


def write(library, name, text):
    path = library / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def lines(split="train"):
    text = "".join(DocstringsCorpus(TextOptions()).chunks(split))
    return text.splitlines()


class TestTaking:
    def test_all_kinds_of_docstrings_in_order(self, library):
        write(
            library,
            "json.py",
            f'''"""{PROSE} one."""
class Decoder:
    """{PROSE} two."""
    async def decode(self):
        r"""{PROSE} three."""
        def inner():
            """{PROSE} four."""
    text = """{PROSE} this is no docstring."""
if True:
    def late():
        """{PROSE} five.

        {PROSE}
           six.
        """
''',
        )
        numbers = ["one", "two", "three", "four", "five", "six"]
        assert lines() == [f"{PROSE}{number}." for number in numbers]

    @pytest.mark.parametrize(
        ("paragraph", "kept"),
        [
            ("Return the name of a file, or None.", True),
            ("It's the caller's well-known (and `quoted') 'duty' -- see above.", True),
            ("Return it.", False),
            (">>> print the value of this variable here", False),
            ("x = 1; y = f(x, 2); z[3] = {} ...", False),
            ("a.b c_d e/f 1 2 3 words and more", False),
        ],
    )
    def test_prose_alone(self, paragraph, kept, library):
        write(library, "json.py", f'"""{paragraph}\n\n{PROSE} end."""')
        assert lines() == [paragraph] * kept + [PROSE + "end."]

    def test_text_seen_before_is_left_out(self, library):
        write(library, "a.py", f'"""{PROSE} one.\n\n{PROSE} ONE!\n\n{PROSE} two."""')
        write(library, "b.py", f'"""{PROSE}\n   one.\n\n{PROSE} three."""')
        found = lines("train") + lines("valid") + lines("test")
        assert sorted(found) == sorted(PROSE + f"{n}." for n in ("one", "two", "three"))

    @pytest.mark.parametrize(
        "name",
        [
            "site-packages/x.py",
            "dist-packages/x.py",
            "test/x.py",
            "unittest/test/x.py",
            "idlelib/x.py",
            "lib2to3/x.py",
            "encodings/x.py",
            "config-3.13/x.py",
            "data.txt",
        ],
    )
    def test_left_out(self, name, library):
        write(library, name, f'"""{PROSE} never."""')
        write(library, "json.py", f'"""{PROSE} kept."""')
        assert lines() == [PROSE + "kept."]

    def test_source_that_does_not_parse(self, library):
        write(library, "broken.py", "def (:")
        (library / "bytes.py").write_bytes(b'"""\xff"""')
        write(library, "escape.py", f'"""\\d {PROSE} kept."""')
        assert lines() == ["\\d " + PROSE + "kept."]

    def test_no_sources(self, library):
        with pytest.raises(DataError, match="no source files"):
            lines()
        library.rmdir()
        with pytest.raises(DataError, match="cannot be read"):
            lines()

    def test_another_library_is_another_text(self, library):
        write(library, "json.py", f'"""{PROSE} one."""')
        before = DocstringsCorpus(TextOptions()).fingerprint()
        write(library, "json.py", f'"""{PROSE} other."""')
        assert DocstringsCorpus(TextOptions()).fingerprint() != before
        assert lines() == [PROSE + "other."]


def test_split_by_module_is_90_5_5():
    names = [f"package.module{number}" for number in range(20_000)]
    splits = [docstrings._split(name) for name in names]
    assert splits.count("train") / len(names) == pytest.approx(0.90, abs=0.01)
    assert splits.count("valid") / len(names) == pytest.approx(0.05, abs=0.01)
    assert docstrings._split("json") == "train"


class TestThisMachine:
    @pytest.fixture(scope="class")
    @staticmethod
    def corpus(tmp_path_factory):
        with pytest.MonkeyPatch.context() as patch:
            folder = tmp_path_factory.mktemp("cache")
            patch.setenv("RECURRA_CACHE", str(folder))
            start = time.perf_counter()
            corpus = DocstringsCorpus(TextOptions())
            corpus.verify()
            corpus.seconds = time.perf_counter() - start
            corpus.folder = folder
        return corpus

    @pytest.fixture(autouse=True)
    def warm(self, cache, corpus, monkeypatch):
        monkeypatch.setenv("RECURRA_CACHE", str(corpus.folder))

    def test_no_text_is_in_two_splits(self, corpus):
        texts = {
            split: set("".join(corpus.chunks(split)).splitlines()) for split in corpus.splits()
        }
        assert not texts["train"] & texts["valid"]
        assert not texts["train"] & texts["test"]
        assert not texts["valid"] & texts["test"]
        assert len(texts["train"]) > 5_000
        assert min(len(texts["valid"]), len(texts["test"])) > 200

    def test_is_quick(self, corpus):
        assert corpus.seconds < 60  # three seconds where no one else is at work
        start = time.perf_counter()
        again = DocstringsCorpus(TextOptions())
        again.verify()
        assert time.perf_counter() - start < max(0.5, corpus.seconds / 4)
        assert again.fingerprint() == corpus.fingerprint()

    def test_building_again_gives_the_same(self, corpus):
        built = docstrings._build(corpus._sources)
        assert built["test.txt"] == "".join(corpus.chunks("test")).encode()

    def test_as_a_dataset(self, corpus):
        data = TextDataset.open(TextOptions(corpus="docstrings", min_count=2))
        assert data.rule == "words"
        assert 150_000 < len(data.ids("train")) < 600_000
        assert 4_000 < len(data.vocabulary) < 12_000
        assert data.facts("test").oov_rate < 0.1
