from __future__ import annotations

import bz2
import gzip
import lzma
from codecs import BOM_UTF8

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ConfigError, DataError
from recurra.language.options import TextOptions
from recurra.language.text.corpora import files
from recurra.language.text.corpora.files import DirectoryCorpus, FileCorpus


def directory(path, **options):
    return DirectoryCorpus(TextOptions(corpus=str(path), **options))


def file(path, split="90/5/5", **options):
    return FileCorpus(TextOptions(corpus=str(path), split=split, **options))


def parts(corpus):
    return ["".join(corpus.chunks(split)) for split in corpus.splits()]


class TestDirectory:
    @pytest.mark.parametrize("prefix", ["", "ptb.", "my.own."])
    def test_finds_files(self, prefix, tmp_path):
        for split in ("train", "valid", "test"):
            (tmp_path / f"{prefix}{split}.txt").write_text(f"{split} é\r\n", newline="")
        corpus = directory(tmp_path)
        assert corpus.splits() == ("train", "valid", "test")
        assert parts(corpus) == ["train é\n", "valid é\n", "test é\n"]
        assert corpus.place("test") == str(tmp_path / f"{prefix}test.txt")
        assert corpus.found() == str(tmp_path)
        assert corpus.rule == ("split" if prefix == "ptb." else "words")

    def test_some_may_be_missing(self, tmp_path):
        (tmp_path / "test.txt").write_text("a")
        assert directory(tmp_path).splits() == ("test",)

    def test_none(self, tmp_path):
        (tmp_path / "training.txt").write_text("a")
        with pytest.raises(DataError, match=r"has no train\.txt, valid\.txt or test\.txt"):
            directory(tmp_path)

    def test_ambiguous(self, tmp_path):
        for name in ("train.txt", "ptb.train.txt"):
            (tmp_path / name).write_text("a")
        with pytest.raises(DataError, match=r"more than one .* train: ptb\.train\.txt, train\.txt"):
            directory(tmp_path)

    def test_directory_in_a_files_place(self, tmp_path):
        (tmp_path / "train.txt").mkdir()
        with pytest.raises(DataError, match="not a regular file"):
            directory(tmp_path)

    def test_dangling_link(self, tmp_path):
        (tmp_path / "train.txt").symlink_to(tmp_path / "nowhere")
        with pytest.raises(DataError, match=r"has no|cannot be read"):
            directory(tmp_path)

    def test_fingerprint(self, tmp_path):
        (tmp_path / "train.txt").write_text("a")
        first = directory(tmp_path).fingerprint()
        assert directory(tmp_path).fingerprint() == first
        assert directory(tmp_path, errors="replace").fingerprint() != first
        (tmp_path / "train.txt").write_text("b")
        assert directory(tmp_path).fingerprint() != first

    def test_replaced_is_of_the_last_reading(self, tmp_path):
        (tmp_path / "train.txt").write_bytes(b"\xff a \xfe")
        corpus = directory(tmp_path, errors="replace")
        for _ in range(2):
            assert parts(corpus) == ["\ufffd a \ufffd"]
            assert corpus.replaced("train") == 2


LINES = "".join(f"line {number:02}\n" for number in range(100))  # 8 bytes each


class TestFile:
    @pytest.mark.parametrize(
        ("split", "lengths"),
        [
            ("90/5/5", [90, 5, 5]),
            ("90/10", [90, 10]),
            ("50/25/25", [50, 25, 25]),
            ("90.5/4.5/5", [91, 4, 5]),
            ("33/33/34", [33, 33, 34]),
        ],
    )
    def test_parts_begin_at_lines(self, split, lengths, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text(LINES)
        corpus = file(path, split)
        assert corpus.splits() == ("train", "valid", "test")[: len(lengths)]
        assert [part.count("\n") for part in parts(corpus)] == lengths
        assert "".join(parts(corpus)) == LINES
        assert corpus.rule == "words"

    @pytest.mark.parametrize("split", ["90/5", "90/5/6", "100/0", "0/100", "90/10/0"])
    def test_shares_that_do_not_add_up(self, split, tmp_path):
        (tmp_path / "text.txt").write_text(LINES)
        with pytest.raises(ConfigError, match=rf"data\.split is {split}: .* add up to 100"):
            file(tmp_path / "text.txt", split)

    def test_a_line_end_is_not_cut_in_two(self, tmp_path):
        (tmp_path / "end.txt").write_bytes(b"\r\n")
        assert parts(file(tmp_path / "end.txt", "49/2/49")) == ["", "\n", ""]

    @pytest.mark.parametrize("rule", ["words", "split", "characters"])
    @given(
        text=st.text(st.sampled_from("ab é\U0001f600\n\r \ufeff")),
        shares=st.tuples(st.integers(1, 98), st.integers(1, 98)).filter(lambda s: sum(s) < 100),
        window=st.integers(10, 60),
        bom=st.booleans(),
    )
    def test_parts_are_the_whole(self, rule, text, shares, window, bom, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "divided.txt"
        path.write_bytes(BOM_UTF8 * bom + text.encode())
        split = "/".join(map(str, [*shares, 100 - sum(shares)]))
        if not bom:
            text = text.removeprefix("\ufeff")
        text = text.replace("\r\n", "\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "WINDOW", window)
            found = parts(file(path, split, rule=rule))
        assert "".join(found) == text
        if rule == "characters":
            first, second = shares[0] * len(text) // 100, sum(shares) * len(text) // 100
            assert found == [text[:first], text[first:second], text[second:]]

    def test_characters_as_in_nanogpt(self, tmp_path):
        text = ("Wörter und Zeichen\n" * 60_000)[:1_115_394]
        (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
        train, valid = parts(file(tmp_path / "text.txt", "90/10", rule="characters"))
        assert len(train) == int(len(text) * 0.9) == 1_003_854
        assert train + valid == text

    def test_few_lines(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text("one\ntwo\n")
        assert parts(file(path, "90/10")) == ["one\n", "two\n"]

    def test_one_line_is_cut_at_a_space(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text("word " * 100)
        assert parts(file(path)) == ["word " * 90, "word " * 5, "word " * 5]

    def test_one_long_word_is_cut_between_characters(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text("é" * 101, encoding="utf-8")
        assert [len(part) for part in parts(file(path))] == [91, 5, 5]

    @pytest.mark.parametrize("rule", ["words", "characters"])
    def test_empty_file(self, rule, tmp_path):
        path = tmp_path / "text.txt"
        path.touch()
        assert parts(file(path, rule=rule)) == ["", "", ""]

    def test_place_names_file_and_part(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text(LINES)
        assert file(path).found() == str(path)
        assert file(path).place("valid") == f"{path} (its valid part of data.split=90/5/5)"

    def test_fingerprint(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text(LINES)
        variants = [
            {},
            {"split": "80/10/10"},
            {"split": "90/10"},
            {"errors": "replace"},
            {"rule": "characters", "split": "33/33/34"},
        ]
        assert len({file(path, **each).fingerprint() for each in variants}) == len(variants)
        first = file(path).fingerprint()
        path.rename(tmp_path / "moved.txt")
        assert file(tmp_path / "moved.txt").fingerprint() == first

    def test_bad_bytes_are_located_in_the_whole_file(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_bytes(LINES.encode() + b"\xff")
        corpus = file(path)
        assert next(corpus.chunks("train"))
        with pytest.raises(DataError, match="offset 800, line 101"):
            list(corpus.chunks("test"))

    def test_replaced_is_of_the_part(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_bytes(b"\xff\n" + LINES.encode() + b"\xff\xfe")
        corpus = file(path, errors="replace")
        parts(corpus)
        assert [corpus.replaced(split) for split in corpus.splits()] == [1, 0, 2]

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"nowhere\.txt cannot be read: No such file"):
            file(tmp_path / "nowhere.txt")


STORY = "".join(f"line {n}: naïve café\r\n" for n in range(300))
FORMS = {
    "gzip": gzip.compress(STORY.encode()),
    "bzip2": bz2.compress(STORY.encode()),
    "xz": lzma.compress(STORY.encode()),
    "UTF-16": STORY.encode("utf-16"),
    "UTF-32": STORY.encode("utf-32"),
    "UTF-16 packed": gzip.compress(STORY.encode("utf-16")),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", ["words", "characters"])
def test_txt_gz_and_utf_16_are_divided_as_the_text_itself(form, rule, tmp_path):
    (tmp_path / "plain.txt").write_bytes(STORY.encode())
    (tmp_path / "other.txt.gz").write_bytes(FORMS[form])
    expected = parts(file(tmp_path / "plain.txt", rule=rule))
    assert parts(file(tmp_path / "other.txt.gz", rule=rule)) == expected
    assert "".join(expected) == STORY.replace("\r\n", "\n")


def test_the_files_of_a_directory_may_be_packed(tmp_path):
    (tmp_path / "train.txt.xz").write_bytes(FORMS["xz"])
    (tmp_path / "my.valid.txt.bz2").write_bytes(FORMS["bzip2"])
    (tmp_path / "test.txt").write_bytes(FORMS["UTF-16"])
    corpus = directory(tmp_path)
    assert corpus.splits() == ("train", "valid", "test")
    assert parts(corpus) == [STORY.replace("\r\n", "\n")] * 3
