"""ARPA files: there and back, beside a reader of one's own, from other tools, and damaged."""

from __future__ import annotations

import gzip
import math
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.language.text.arpa import read_arpa, write_arpa
from recurra.language.text.arpa.sections import LONGEST
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import BackoffNgrams, KneserNey

WORDS = Vocabulary(["a", "b", "<eos>", "émile", "<unk>", "שלום"])
V, EOS = len(WORDS), WORDS.eos

# As kenlm's lmplz writes: tabs, <unk> first, <s> with probability 1, weights of 0 written out.
LMPLZ = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.0\t<unk>\t0
0\t<s>\t-0.5
-0.6\t</s>\t0
-0.5\ta\t-0.3
-0.7\tb\t-0.2

\\2-grams:
-0.2\t<s> a\t-0.1
-0.4\ta b\t0
-0.3\tb </s>\t0
-0.9\ta a\t-0.25

\\3-grams:
-0.15\t<s> a b
-0.05\ta b </s>

\\end\\
"""

# As SRILM writes: a blank first line, spaces, weights left out, -99, no <unk>.
SRILM = """
\\data\\
ngram 1=4
ngram 2=3

\\1-grams:
-0.6 </s>
-99 <s> -0.5
-0.5 a -0.3
-0.7 b

\\2-grams:
-0.2 <s> a
-0.4 a b
-0.3 b </s>

\\end\\
"""


class Reference:
    """The definition of the format over strings: dictionaries, one word at a time."""

    def __init__(self, text: str) -> None:
        self.log_probs: dict[tuple[str, ...], float] = {}
        self.weights: dict[tuple[str, ...], float] = {}
        n = 0
        for line in text.splitlines():
            if line.endswith("-grams:"):
                n = int(line[1])
            elif n and (fields := line.split()) and not line.startswith("\\"):
                gram = tuple(fields[1 : n + 1])
                self.log_probs[gram] = float(fields[0])
                self.weights[gram] = float(fields[n + 1]) if len(fields) == n + 2 else 0.0
        self.order = n

    def log10(self, gram: tuple[str, ...]) -> float:
        if gram in self.log_probs:
            return self.log_probs[gram]
        if len(gram) == 1:
            return self.log_probs.get(("<unk>",), -99.0)
        return self.weights.get(gram[:-1], 0.0) + self.log10(gram[1:])

    def log_probs_of(self, tokens: list[str]) -> list[float]:
        found, sentence = [], ["<s>"]
        for token in tokens:
            sentence.append("</s>" if token == "<eos>" else token)
            found.append(self.log10(tuple(sentence[-self.order :])) * math.log(10))
            sentence = ["<s>"] if token == "<eos>" else sentence
        return found


def write(folder: Path, text: str | bytes, name: str = "model.arpa") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def counted(length: int = 300, order: int = 3, seed: int = 1) -> BackoffNgrams:
    ids = np.random.default_rng(seed).integers(0, V, length)
    return KneserNey.fit(ids, order, V, EOS).backoff


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=40),
    st.integers(1, 5),
    st.sampled_from([0.0, 1e-3]),
    st.sampled_from(["t.arpa", "t.arpa.gz"]),
)
def test_there_and_back_is_the_same(
    tmp_path: Path, train: list[int], order: int, threshold: float, name: str
) -> None:
    ngrams = KneserNey.fit(train, order, V, EOS).pruned(threshold, train)
    write_arpa(tmp_path / name, ngrams, WORDS)
    again, vocabulary = read_arpa(tmp_path / name)
    assert vocabulary == WORDS
    assert (again.sizes, again.eos) == (ngrams.sizes, EOS)
    text = [*train, 5, 4, 3, 2, 1, 0, 0]
    np.testing.assert_allclose(again.log_probs_of(text), ngrams.log_probs_of(text), rtol=1e-13)
    for i in range(0, len(text), 5):
        found, expected = again.distribution(text[:i]), ngrams.distribution(text[:i])
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_written_again_it_is_the_same_file(tmp_path: Path) -> None:
    write_arpa(tmp_path / "one.arpa", counted(), WORDS, digits=12)
    write_arpa(tmp_path / "two.arpa", *read_arpa(tmp_path / "one.arpa"), digits=12)
    assert (tmp_path / "one.arpa").read_bytes() == (tmp_path / "two.arpa").read_bytes()


def test_the_file_itself(tmp_path: Path) -> None:
    level = KneserNey.fit([0, 1, EOS, 0, EOS], 2, V, EOS).backoff
    write_arpa(tmp_path / "model.arpa", level, WORDS, digits=3)
    lines = (tmp_path / "model.arpa").read_text(encoding="utf-8").split("\n")
    assert lines[:5] == ["\\data\\", "ngram 1=7", "ngram 2=4", "", "\\1-grams:"]
    assert [line.split("\t")[1] for line in lines[5:12]] == [
        *["a", "b", "<s>", "</s>", "émile", "<unk>", "שלום"]
    ]
    assert lines[7].startswith("-99\t<s>\t-")
    assert lines[8].count("\t") == 1  # nothing follows the end of a sentence
    assert {line.split("\t")[1] for line in lines[14:18]} == {"<s> a", "a b", "a </s>", "b </s>"}
    assert lines[18:] == ["", "\\end\\", ""]


def test_what_is_written_means_the_same_to_another_reader(tmp_path: Path) -> None:
    ngrams = counted(order=4)
    write_arpa(tmp_path / "model.arpa", ngrams, WORDS)
    reference = Reference((tmp_path / "model.arpa").read_text(encoding="utf-8"))
    ids = np.random.default_rng(2).integers(0, V, 200)
    expected = reference.log_probs_of(WORDS.decode(ids.tolist()))
    np.testing.assert_allclose(ngrams.log_probs_of(ids), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param(LMPLZ, ("<unk>", "<eos>", "a", "b"), id="lmplz"),
        pytest.param(SRILM, ("<eos>", "a", "b", "<unk>"), id="srilm"),
        pytest.param(SRILM.replace("\n", "\r\n"), ("<eos>", "a", "b", "<unk>"), id="crlf"),
        pytest.param("A model.\n\n" + SRILM, ("<eos>", "a", "b", "<unk>"), id="with a comment"),
        pytest.param(
            LMPLZ.replace("<unk>", "<UNK>"), ("<unk>", "<eos>", "a", "b"), id="capital unk"
        ),
    ],
)
def test_files_of_other_tools(tmp_path: Path, text: str, tokens: tuple[str, ...]) -> None:
    ngrams, vocabulary = read_arpa(write(tmp_path, text))
    assert vocabulary.tokens == tokens
    ids = np.random.default_rng(3).integers(0, len(vocabulary), 300)
    expected = Reference(text.replace("<UNK>", "<unk>")).log_probs_of(
        vocabulary.decode(ids.tolist())
    )
    np.testing.assert_allclose(ngrams.log_probs_of(ids), expected, rtol=1e-13)


def test_by_hand(tmp_path: Path) -> None:
    ngrams, vocabulary = read_arpa(write(tmp_path, LMPLZ))
    a, b, eos = (vocabulary.ids[token] for token in ("a", "b", "<eos>"))
    log10 = ngrams.log_probs_of([a, b, eos, b, b, a, a]) / math.log(10)
    # <s> a: -.2; <s> a b: -.15; a b </s>: -.05; <s> b: -.5 -.7; b b: -.2 -.7; b a: -.2 -.5;
    # b a a, of which b a is unseen: a a.
    np.testing.assert_allclose(log10, [-0.2, -0.15, -0.05, -1.2, -0.9, -0.7, -0.9], rtol=1e-13)


def test_n_grams_that_cannot_be_met_are_left_out(tmp_path: Path) -> None:
    odd = SRILM.replace("ngram 2=3", "ngram 2=6").replace(
        "-0.4 a b", "-0.4 a b\n-0.1 a <s>\n-0.1 </s> a\n-0.1 <s> <s>"
    )
    ngrams, _ = read_arpa(write(tmp_path, odd))
    assert ngrams.sizes == (4, 3)
    plain, _ = read_arpa(write(tmp_path, SRILM))
    assert all(
        np.array_equal(ngrams.tensors()[name], array) for name, array in plain.tensors().items()
    )


@pytest.mark.parametrize("text", [LMPLZ, SRILM], ids=["lmplz", "srilm"])
def test_the_words_get_the_ids_of_a_vocabulary(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    ordered = Vocabulary(["b", "<unk>", "a", "<eos>"])
    ngrams, vocabulary = read_arpa(path, ordered)
    assert vocabulary is ordered
    by_file, file_words = read_arpa(path)
    tokens = ordered.decode(np.random.default_rng(6).integers(0, 4, 200).tolist())
    found, expected = (
        model.log_probs_of(words.encode(tokens))
        for model, words in ((ngrams, ordered), (by_file, file_words))
    )
    np.testing.assert_array_equal(found, expected)
    assert all((np.diff(level.keys) > 0).all() for level in ngrams.levels)
    with pytest.raises(DataError, match=r"2 words are in the file or in the vocabulary .* as 'b'"):
        read_arpa(path, Vocabulary(["c", "<unk>", "a", "<eos>"]))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("\\data\\", "data", 24, r"expected \\data\\, got the end of the file"),
        ("ngram 2=4", "ngram two", 3, r"expected ngram 2=COUNT, got 'ngram two'"),
        ("ngram 2=4", "ngram 2=-4", 3, r"expected ngram 2=COUNT"),
        ("ngram 2=4", "ngram 1=4", 3, r"expected ngram 2=COUNT, got 'ngram 1=4'"),
        ("ngram 2=4", "ngram 2~4", 3, "n-grams in HTK's binary form"),
        ("\\data\\", "CLASS MODEL\n\\data\\", 1, "it is HTK's model of classes"),
        ("\\1-grams:", "\\2-grams:", 6, r"expected \\1-grams:, got '\\\\2-grams:'"),
        ("\\3-grams:", "\\2-grams:", 19, r"expected \\3-grams: or \\end\\, got '\\\\2-grams:'"),
        ("\\3-grams:", "\\101-grams:", 19, r"expected \\3-grams: or \\end\\"),
        ("\\2-grams:", "\\3-grams:", 14, "the word '-0.1' is no 1-gram"),
        ("-0.7\tb", "x\tb", 11, "expected a number at either end"),
        ("-0.7\tb\t-0.2", "-0.7\tb\tx", 11, "expected a number at either end"),
        ("-0.7\tb", "nan\tb", 11, "nan and -0.2 are not the base-10 logarithms"),
        ("-0.7\tb\t-0.2", "-0.7\tb\tinf", 11, "-0.7 and inf are not the base-10 logarithms"),
        ("-0.7\tb", "-1e7\tb", 11, "-10000000.0 and -0.2 are not the base-10"),
        ("-0.7\tb", "0.1\tb", 11, "0.1 and -0.2 are not the base-10 logarithms"),
        ("-0.3\tb </s>", "0.3\tb </s>", 16, "0.3 and 0.0 are not the base-10 logarithms"),
        ("-0.7\tb\t-0.2", "-0.7", 11, "expected a logarithm, 1 words, and perhaps a weight"),
        ("-0.7\tb", "-0.7\tb b b", 11, "expected a logarithm, 1 words"),
        ("-0.4\ta b\t0", "-0.4\ta b a\t0", 15, "expected a logarithm, 2 words"),
        ("-0.4\ta b", "-0.4\ta c", 15, "the word 'c' is no 1-gram"),
        ("-0.4\ta b", "-0.4\ta a", 17, "the n-gram is there twice"),
        ("\tb\t-0.2", "\ta\t-0.2", 11, "the word 'a' is there twice"),
        ("\tb\t-0.2", "\t<eos>\t-0.2", 11, "the word <eos> stands beside </s>"),
        ("</s>", "end", 13, "no word is </s>"),
        ("\\end\\", "", 24, r"expected \\4-grams: or \\end\\, got the end of the file"),
        ("-0.9\ta a", "\n\n-0.4\ta b", 19, "the n-gram is there twice"),
        ("-0.9\ta a", "\n-9e9\ta a", 18, "-9000000000.0 and -0.25 are not the base-10"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    assert old in LMPLZ
    with pytest.raises(DataError, match=rf"model\.arpa, line {line}: {message}"):
        read_arpa(write(tmp_path, LMPLZ.replace(old, new)))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 11: b'\\xff' is not UTF-8"):
        read_arpa(write(tmp_path, LMPLZ.encode().replace(b"\tb\t", b"\t\xff\t")))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = LMPLZ.encode()
    for length in range(len(whole) - 1):
        with pytest.raises(DataError, match=r"model\.arpa, line "):
            read_arpa(write(tmp_path, whole[:length]))
    read_arpa(write(tmp_path, whole[:-1]))  # only the last newline is gone


@pytest.mark.filterwarnings("ignore:.*model.arpa")
def test_damaged_bytes_are_refused_or_read(tmp_path: Path) -> None:
    draws = np.random.default_rng(4)
    refused = 0
    for _ in range(150):
        data = bytearray(LMPLZ.encode())
        data[draws.integers(len(data))] ^= 1 << draws.integers(8)
        try:
            ngrams, _ = read_arpa(write(tmp_path, bytes(data)))
        except DataError:
            refused += 1
        else:
            assert np.isfinite(ngrams.distribution([])).all()
    assert refused > 50


def test_packed_files_that_are_damaged(tmp_path: Path) -> None:
    packed = gzip.compress(LMPLZ.encode())
    assert read_arpa(write(tmp_path, packed, "model.arpa.gz"))[0].sizes == (4, 4, 2)
    assert read_arpa(write(tmp_path, LMPLZ, "model.arpa.gz"))[0].sizes == (4, 4, 2)
    for bad in (packed[:-9], packed[:30] + b"\xff\xff" + packed[32:]):
        with pytest.raises(DataError, match=r"model\.arpa\.gz cannot be read"):
            read_arpa(write(tmp_path, bad, "model.arpa.gz"))
    with pytest.raises(DataError, match=r"missing\.arpa cannot be read: No such file"):
        read_arpa(tmp_path / "missing.arpa")


def test_the_head_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path, LMPLZ.replace("ngram 3=2", "ngram 3=999999999999999999"))
    begun = time.process_time()
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"999,999 of length 3 \(2 are there\)"):
        read_arpa(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5e6
    assert time.process_time() - begun < 5


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRA_MOST_MB", "100")  # or it would not be unpacked
    path = tmp_path / "model.arpa.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"\\data\\\nngram 1=")
        for _ in range(64):
            file.write(b"1" * LONGEST)
    tracemalloc.start()
    with pytest.raises(DataError, match="line 2: the line is longer than 1,048,576 bytes"):
        read_arpa(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6


@pytest.mark.parametrize(
    "token",
    [" ", "a b", "\n", "", "<s>", "</s>", "<UNK>", "\ud800", "a\0b", "\tx"],
    ids=ascii,
)
def test_tokens_that_cannot_be_written_are_refused(tmp_path: Path, token: str) -> None:
    ngrams = KneserNey.fit([1, 0], 2, 3, 0).backoff
    with pytest.raises(DataError, match=r"the token .* cannot stand in an ARPA file"):
        write_arpa(tmp_path / "model.arpa", ngrams, Vocabulary(["<eos>", token, "<unk>"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("token", ["?", "\\2-grams:", "-1.5", "\u3000x", "ngram", "🦜"], ids=ascii)
def test_odd_tokens_are_told_apart(tmp_path: Path, token: str) -> None:
    vocabulary = Vocabulary(["<eos>", token, "<unk>"])
    ngrams = KneserNey.fit([1, 1, 0, 1, 0], 3, 3, 0).backoff
    write_arpa(tmp_path / "model.arpa", ngrams, vocabulary)
    again, read = read_arpa(tmp_path / "model.arpa")
    assert read == vocabulary
    assert again.sizes == ngrams.sizes


def test_a_model_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ngrams = counted(order=4)
    write_arpa(tmp_path / "whole.arpa.gz", ngrams, WORDS)
    monkeypatch.setattr("recurra.language.text.arpa.writing.CHUNK", 7)
    write_arpa(tmp_path / "pieces.arpa.gz", ngrams, WORDS)
    files = [
        gzip.decompress((tmp_path / f"{name}.arpa.gz").read_bytes()) for name in ("whole", "pieces")
    ]
    assert files[0] == files[1]


BAD = """\\data\\
ngram 1=4
ngram 2=1

\\1-grams:
-0.1 </s>
-99 <s> {weight}
{word} a 0
-0.1 b 0

\\2-grams:
-0.3 <s> a

\\end\\
"""


def test_an_arpa_file_whose_unigrams_sum_to_2_4_is_read_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"probabilities of its 1-grams sum to 2\.38"):
        read_arpa(write(tmp_path, BAD.format(weight=0, word=-0.1)))


def test_weights_that_make_a_context_exceed_one_are_told(tmp_path: Path) -> None:
    sound = BAD.replace("-0.1 </s>", "-0.5 </s>").replace("-0.1 b", "-0.6 b")
    read_arpa(write(tmp_path, sound.format(weight=0, word=-0.5)))
    with pytest.warns(UserWarning, match=r"what follows its 1-gram number 1 sum to 6\.\d"):
        read_arpa(write(tmp_path, sound.format(weight=1, word=-0.5)))
