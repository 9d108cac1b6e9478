from __future__ import annotations

import codecs
import gzip
import os
import sys
import unicodedata
from collections import Counter
from itertools import chain, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recurra.errors import ConfigError, DataError
from recurra.language.text import byte_pairs, tokenization
from recurra.language.text.tokenization import (
    EOS,
    UNK,
    detokenize,
    learn_merges,
    read_text,
    tokenize,
    tokens,
)
from recurra.storage.packed.unpacked import packing_of
from recurra.storage.packed.utf8 import marked_encoding, no_text

RULES = ["split", "words", "characters", "bpe"]
MERGES = (
    ("\u0120", "a"),
    ("a", "B"),
    ("\u0120", "("),
    ("'", "-"),
    ("\u0120a", "B"),
    ("\u0120", "\u0120"),
)
TEXTS = st.text(
    st.sampled_from("aB1_'-\u2019.,()[] \t\n\r\x00\x85\u00a0\u0301\u05e9Σς\U0001f600<>")
)
TEXTS |= st.text()
PAIRED = "aB1_'-\u2019.( \t\n\r\x00\u00a0\u0301\u05e9\U0001f600<"


def write(folder, data):
    path = folder / "text.txt"
    path.write_bytes(data)
    return path


def read(path, **options):
    return "".join(read_text(path, **options))


def divide(text, cuts):
    places = sorted({min(cut, len(text)) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)])]


def plain_words(text):
    """The rule `words`, a line at a time and a character at a time."""
    found = []
    for line, newline in [(line, True) for line in text.split("\n")[:-1]] + [
        (text.split("\n")[-1], False)
    ]:
        before = len(found)
        place, line = 0, line.lower()
        while place < len(line):
            if line.startswith(UNK, place):
                found.append(UNK)
                place += len(UNK)
            elif _wordy(line[place]):
                end = place + 1
                while end < len(line) and (
                    _wordy(line[end])
                    or (line[end] in "'-\u2019" and _wordy(line[end + 1 : end + 2]))
                ):
                    end += 1
                found.append(line[place:end])
                place = end
            else:
                if not line[place].isspace():
                    found.append(line[place])
                place += 1
        if newline and len(found) > before:
            found.append(EOS)
    return found


def _wordy(char):
    category = unicodedata.category
    return bool(char) and (char.isalnum() or char == "_" or category(char).startswith("M"))


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "text", "expected"),
        [
            ("split", " it was n't \n <unk> N \n", ["it", "was", "n't", EOS, UNK, "N", EOS]),
            ("split", "a\n\nb", ["a", EOS, EOS, "b"]),
            ("split", "a <eos> b", ["a", EOS, "b"]),
            ("split", "", []),
            ("split", " \t ", []),
            ("words", "It's well-known, isn't it", ["it's", "well-known", ",", "isn't", "it"]),
            ("words", "'tis 'so' --", ["'", "tis", "'", "so", "'", "-", "-"]),
            ("words", "rock-'n'-roll", ["rock", "-", "'", "n", "'", "-", "roll"]),
            ("words", "\n\n a \n\n \n\tb\n\n", ["a", EOS, "b", EOS]),
            ("words", "a <UNK> <eos>", ["a", UNK, "<", "eos", ">"]),
            ("words", "3.14 x_1", ["3", ".", "14", "x_1"]),
            ("words", "\u0939\u093f\u0928\u094d\u0926\u0940 cafe\u0301",
             ["\u0939\u093f\u0928\u094d\u0926\u0940", "cafe\u0301"]),
            ("words", "\u05e9\u05dc\u05d5\u05dd, \u0645\u064e\u0631\u062d\u0628\u0627!",
             ["\u05e9\u05dc\u05d5\u05dd", ",", "\u0645\u064e\u0631\u062d\u0628\u0627", "!"]),
            ("words", "ab\x00c", ["ab", "\x00", "c"]),
            ("words", " \n \n", []),
            ("characters", "a b\n\n", ["a", " ", "b", EOS, EOS]),
            ("characters", "<eos>", ["<", "e", "o", "s", ">"]),
            ("characters", "\x00\ud800\u05d0", ["\x00", "\ud800", "\u05d0"]),
        ],
    )  # fmt: skip
    def test_examples(self, rule, text, expected):
        assert tokenize(text, rule) == expected

    def test_unknown_rule(self):
        with pytest.raises(ConfigError, match=r"'syllables'.* split, words, characters and bpe"):
            tokenize("a", "syllables")

    @given(TEXTS)
    def test_split_is_the_tutorials_reader(self, text):
        assert tokenize(text, "split") == text.replace("\n", " <eos> ").split()

    @given(TEXTS)
    def test_words_against_a_plain_reading(self, text):
        assert tokenize(text, "words") == plain_words(text)

    @given(TEXTS)
    def test_characters_are_all_there(self, text):
        assert tokenize(text, "characters") == [EOS if char == "\n" else char for char in text]


class TestChunks:
    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("longest", [1, 5, 65_536])
    def test_boundaries_never_matter(self, rule, longest, monkeypatch):
        monkeypatch.setattr(tokenization, "LONGEST", longest)

        @given(TEXTS, st.lists(st.integers(0, 30)))
        def check(text, cuts):
            chunked = chain.from_iterable(tokens(divide(text, cuts), rule, MERGES))
            assert list(chunked) == tokenize(text, rule, MERGES)

        check()

    @pytest.mark.parametrize("rule", RULES[:3])
    @given(text=TEXTS)
    def test_nothing_is_lost_beside_white_space(self, rule, text):
        kept = "".join("" if token == EOS else token for token in tokenize(text, rule))
        if rule == "words":
            text = text.lower()
        kept, text = ("".join(whole.replace(EOS, "").split()) for whole in (kept, text))
        assert kept == text

    @pytest.mark.parametrize(
        ("length", "lengths"),
        [(65_536, [65_536]), (65_537, [65_536, 1]), (200_000, [65_536, 65_536, 65_536, 3_392])],
    )
    @pytest.mark.parametrize("chunk", [1_000, 65_536, 1 << 20])
    def test_longest_token(self, length, lengths, chunk):
        text = "b " + "a" * length + " c"
        chunks = [text[start : start + chunk] for start in range(0, len(text), chunk)]
        found = list(chain.from_iterable(tokens(chunks, "split")))
        assert [len(token) for token in found] == [1, *lengths, 1]

    def test_lists_are_bounded(self):
        chunks = ["a" * 300_000, "b c " * 100_000, "\n" * 200_000]
        for rule in RULES:
            assert max(len(part) for part in tokens(chunks, rule)) <= 2 * 65_536


class TestDetokenize:
    @given(TEXTS)
    def test_characters_round_trip(self, text):
        assert detokenize(tokenize(text, "characters"), "characters") == text

    @pytest.mark.parametrize("rule", ["split", "words"])
    @given(text=TEXTS)
    def test_tokens_round_trip(self, rule, text):
        found = tokenize(text, rule)
        assert tokenize(detokenize(found, rule), rule) == found

    def test_words_are_readable(self):
        text = "hello (again), world: it's 3 o'clock!\nwell - known.\n"
        assert detokenize(tokenize(text, "words"), "words") == text

    def test_unknown_character(self):
        assert detokenize(["a", UNK, EOS], "characters") == "a\ufffd\n"

    def test_special_token_inside_another_stays(self):
        assert detokenize(["a<eos>b", EOS, "c"], "split") == "a<eos>b\nc"


def plain_byte_pairs(text, merges):
    """The rule `bpe`: each merge in its turn, over one stretch after another."""
    found = []
    for stretch in stretches_of(text):
        if stretch == "\n":
            found.append(EOS)
            continue
        parts = [shown(byte) for byte in stretch.encode("utf-8", "surrogatepass")]
        for left, right in merges:
            place = 0
            while place < len(parts) - 1:
                if (parts[place], parts[place + 1]) == (left, right):
                    parts[place : place + 2] = [left + right]
                place += 1
        found += parts
    return found


def shown(byte):
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in visible:
        return chr(byte)
    return chr(256 + [b for b in range(256) if b not in visible].index(byte))


def stretches_of(text):
    """The stretches of a text, a character at a time."""
    kinds = [_kind(char) for char in text]
    place = 0
    while place < len(text):
        end = place
        while end < len(text) and kinds[end] == "space":
            end += 1
        spaces = end - place
        whole = end < len(text) and kinds[end] != "newline"
        if spaces > (1 if whole else 0):
            yield text[place : place + spaces - whole]
            place += spaces - whole
            continue
        if kinds[end] == "newline":
            yield "\n"
            place = end + 1
            continue
        after = end + 1
        while after < len(text) and kinds[end] != "newline":
            inner = text[after] in "'\u2019" and kinds[after + 1 : after + 2] == ["letter"]
            same = kinds[after] == kinds[end] or (kinds[end] == "letter" and inner)
            if not same or (kinds[end] == "digit" and after - end == 3):
                break
            after += 1
        yield text[place:after]
        place = after


def _kind(char):
    if char in " \n_":
        return {" ": "space", "\n": "newline", "_": "low line"}[char]
    if char.isspace():
        return "white"
    if char.isdecimal():
        return "digit"
    letter = char.isalnum() or tokenization.marks().find(char) >= 0
    return "letter" if letter else "other"


class TestBytePairs:
    @given(TEXTS)
    def test_against_each_merge_in_its_turn(self, text):
        assert tokenize(text, "bpe", MERGES) == plain_byte_pairs(text, MERGES)

    @given(st.text(st.sampled_from(PAIRED)) | st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_comes_back(self, text):
        for merges in ((), MERGES):
            assert detokenize(tokenize(text, "bpe", merges), "bpe") == text

    def test_literal_special_tokens_are_characters(self):
        text = "<unk> <eos>\n" * 50
        merges = learn_merges([text], 400)
        found = tokenize(text, "bpe", merges)
        assert found[:7] == ["<", "unk", ">", "\u0120<", "eos", ">", EOS]
        assert UNK not in found and found.count(EOS) == 50

    def test_learning_is_by_frequency(self):
        counts = {"ab": 30, "abc": 20, "xy": 7, "x": 3}
        text = "\n".join(" ".join([word] * count) for word, count in counts.items())
        merges = learn_merges([text], 262)
        assert merges[0] == ("a", "b")
        assert merges == plain_learning(text, 262)
        assert learn_merges([text], 262, min_count=15) == merges[:3]

    def test_where_the_text_is_divided_does_not_matter(self):
        text = "the cat sat on the mat, and the other cats sat on the other mats\n" * 20
        whole = learn_merges([text], 300)
        for step in (1, 7, 64):
            chunks = [text[start : start + step] for start in range(0, len(text), step)]
            assert learn_merges(chunks, 300) == whole

    def test_no_room_for_the_bytes(self):
        assert learn_merges(["ab ab"], 257) == ()
        with pytest.raises(ConfigError, match=r"vocabulary_size is 256, .* at least 257"):
            learn_merges(["ab ab"], 256)

    def test_without_the_library(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        for use in (lambda: learn_merges(["a"], 300), lambda: tokenize("a", "bpe", (("a", "b"),))):
            with pytest.raises(ConfigError, match=r"pip install tokenizers"):
                use()

    def test_what_is_remembered_is_bounded(self, monkeypatch):
        monkeypatch.setattr(byte_pairs, "MEMO", 100)
        encoder = byte_pairs.Encoder(MERGES)
        text = " ".join(f"w{number}" for number in range(500))
        for start in range(0, len(text), 50):
            piece = text[start : start + 50]
            assert encoder.tokens(piece) == plain_byte_pairs(piece, MERGES)
            assert sum(map(len, encoder._known)) <= 150

    def test_encoders_are_made_once(self):
        merges = (("a", "b"),)
        assert byte_pairs.encoder(merges) is byte_pairs.encoder(merges)
        for letter in "cdefgh":
            byte_pairs.encoder((("a", letter),))
        assert len(byte_pairs._KEPT) <= byte_pairs.ENCODERS

    def test_what_no_text_gives(self):
        assert detokenize(["\u00c3", EOS, UNK, "a"], "bpe") == "\ufffd\n\ufffda"
        assert detokenize(["\u4e00"], "bpe") == "\ufffd"


def plain_learning(text, size):
    """The most frequent pair of all stretches is merged, again and again; ties are told apart."""
    words = [[shown(b) for b in stretch.encode()] for stretch in stretches_of(text)]
    words = [word for word in words if word != [shown(10)]]
    merges = []
    while len(merges) < size - 257:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        (best, most), *rest = pairs.most_common()
        assert not rest or rest[0][1] < most, "the text of a test has no ties"
        merges.append(best)
        for word in words:
            for place in range(len(word) - 2, -1, -1):
                if tuple(word[place : place + 2]) == best:
                    word[place : place + 2] = ["".join(best)]
    return tuple(merges)


class TestReadText:
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"", ""),
            (codecs.BOM_UTF8, ""),
            (codecs.BOM_UTF8 + b"a\r\nb\r\n", "a\nb\n"),
            (codecs.BOM_UTF8 * 2 + b"a", "\ufeffa"),
            (b"a" + codecs.BOM_UTF8, "a\ufeff"),
            (b"a\rb\r\r\nc\r", "a\rb\r\nc\r"),
            (b"nul \x00 here", "nul \x00 here"),
            ("שלום مرحبا".encode(), "שלום مرحبا"),
            (b"\xef\xbb", None),
        ],
    )
    @pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
    def test_examples(self, data, text, block, tmp_path, monkeypatch):
        monkeypatch.setattr(tokenization, "READ", block)
        path = write(tmp_path, data)
        if text is None:
            with pytest.raises(DataError, match="offset 0, line 1"):
                read(path)
        else:
            assert read(path) == text

    @given(TEXTS, st.integers(1, 20))
    def test_any_text_survives(self, tmp_path_factory, text, block):
        text = text.encode("utf-8", "ignore").decode().removeprefix("\ufeff")
        assume(no_text(text.encode()) is None)
        path = write(tmp_path_factory.getbasetemp(), text.encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tokenization, "READ", block)
            assert read(path) == text.replace("\r\n", "\n")

    @given(data=st.binary(), block=st.integers(1, 20))
    def test_replacing_is_the_decoders_own(self, tmp_path_factory, data, block):
        assume(not (packing_of(data) or marked_encoding(data) or no_text(data)))
        path = write(tmp_path_factory.getbasetemp(), data)
        counted = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tokenization, "READ", block)
            text = read(path, errors="replace", replaced=counted.append)
        decoded = data.removeprefix(codecs.BOM_UTF8).decode(errors="replace")
        assert text == decoded.replace("\r\n", "\n")
        assert sum(counted) == decoded.count("\ufffd") - data.count("\ufffd".encode())

    @pytest.mark.parametrize(
        ("data", "offset", "line"),
        [
            (b"\xff", 0, 1),
            (b"good\nbad \xc3\x28\n", 9, 2),
            (b"a\n" * 3_000 + b"\xed\xa0\x80", 6_000, 3_001),  # a lone surrogate
            (codecs.BOM_UTF8 + b"\n\x80", 4, 2),
            ("é".encode()[:1], 0, 1),
        ],
    )
    @pytest.mark.parametrize("block", [7, 1 << 20])
    def test_bad_bytes_are_located(self, data, offset, line, block, tmp_path, monkeypatch):
        monkeypatch.setattr(tokenization, "READ", block)
        path = write(tmp_path, data)
        with pytest.raises(DataError) as caught:
            read(path)
        assert f"offset {offset}, line {line};" in str(caught.value)
        assert f"0x{data[offset]:02x}" in str(caught.value)
        assert str(path) in str(caught.value)
        assert "data.errors=replace" in str(caught.value)

    def test_another_encoding_is_not_mended_by_replacing(self, tmp_path):
        text = "Müller fährt über die Brücke, später öffnet er die Tür.\n" * 3
        for data in (
            text.encode("latin-1"),
            "我的房子很大。".encode("gbk") * 9,
            "Кошка".encode("koi8-r") * 9,
        ):
            with pytest.raises(DataError, match="is in another encoding; convert it") as caught:
                read(write(tmp_path, data))
            assert "data.errors=replace" not in str(caught.value)

    def test_utf_16_without_a_mark_is_named(self, tmp_path):
        path = write(tmp_path, "the cat sat on a mat\n".encode("utf-16-le"))
        with pytest.raises(DataError, match=r"is UTF-16LE without a byte-order mark; convert") as e:
            read(path)
        assert "data.errors=replace" not in str(e.value)

    def test_part_of_a_packed_file(self, tmp_path):
        path = write(tmp_path, gzip.compress(b"one\ntwo\n\xffthree\n"))
        assert read(path, start=4, stop=8) == "two\n"
        with pytest.raises(DataError, match="offset 8, line 3"):
            read(path, start=4)

    def test_part_of_a_file(self, tmp_path):
        path = write(tmp_path, b"one\ntwo\nthree\n")
        assert read(path, start=4) == "two\nthree\n"
        assert read(path, start=4, stop=8) == "two\n"
        assert read(path, stop=4) == "one\n"
        assert read(path, start=4, stop=4) == ""

    def test_bad_byte_of_a_part_is_located_in_the_file(self, tmp_path):
        path = write(tmp_path, b"one\ntwo\n\xffthree\n")
        with pytest.raises(DataError, match="offset 8, line 3"):
            read(path, start=4)

    def test_character_cut_by_the_part_is_bad(self, tmp_path):
        path = write(tmp_path, "aé".encode())
        with pytest.raises(DataError, match="offset 1, line 1"):
            read(path, stop=2)

    def test_missing_file_and_directory(self, tmp_path):
        with pytest.raises(DataError, match=r"nowhere\.txt cannot be read"):
            read(tmp_path / "nowhere.txt")
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path)

    @pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="no permissions")
    def test_forbidden_file(self, tmp_path):
        path = write(tmp_path, b"secret")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(DataError, match="Permission denied"):
            read(path)

    def test_chunks_are_bounded(self, tmp_path):
        path = write(tmp_path, b"a" * (3 << 20))
        assert max(map(len, read_text(path))) <= 1 << 20
