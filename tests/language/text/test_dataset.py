from __future__ import annotations

import errno
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from recurra.errors import ConfigError, DataError, ResourceError
from recurra.language.metrics import TextMetrics
from recurra.language.options import TextOptions
from recurra.language.text import dataset as module
from recurra.language.text.batches import StreamBatches
from recurra.language.text.dataset import SplitFacts, TextDataset, encode_text
from recurra.language.text.spelling import Spelling
from recurra.language.text.tokenization import detokenize, tokenize
from recurra.language.text.vocabulary import Vocabulary
from recurra.storage import folders

TEXT = {"train": "the cat sat\nthe dog sat\n", "valid": "the cow <unk>\n", "test": "a cat\r\n"}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "text", TEXT)


def write(folder, texts):
    folder.mkdir()
    for split, text in texts.items():
        (folder / f"{split}.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder


def open_text(folder, vocabulary=None, **options):
    return TextDataset.open(TextOptions(corpus=str(folder), **options), vocabulary)


def counts(facts):
    return facts.tokens, facts.oov, facts.characters, facts.replaced


ALPHABET = """
from recurra.language.text.corpora.base import Corpus

class Alphabet(Corpus):
    rule = "characters"

    def splits(self):
        return ("train",)

    def chunks(self, split):
        yield from ["ab", "a\\n"]

    def fingerprint(self):
        return "alphabet"
"""


class TestOpen:
    def test_ids_and_facts(self, folder):
        data = open_text(folder, rule="split")
        assert data.splits == ("train", "valid", "test")
        assert data.rule == "split"
        assert data.vocabulary.tokens == ("<eos>", "sat", "the", "cat", "dog", "<unk>")
        assert data.ids("train").tolist() == [2, 3, 1, 0, 2, 4, 1, 0]
        assert data.ids("valid").tolist() == [2, 5, 5, 0]
        assert data.ids("test").tolist() == [5, 3, 0]
        assert data.facts("train") == SplitFacts(8, 0, 24, 0)
        assert counts(data.facts("valid")) == (4, 1, 14, 0)
        assert counts(data.facts("test")) == (3, 1, 6, 0)
        assert data.facts("valid").oov_rate == 0.25

    def test_ids_are_mapped_and_read_only(self, folder):
        ids = open_text(folder).ids("train")
        assert isinstance(ids, np.memmap)
        assert ids.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            ids[0] = 1

    @pytest.mark.parametrize("rule", ["split", "words", "characters"])
    def test_equals_tokenizing_by_hand(self, folder, rule):
        data = open_text(folder, rule=rule)
        for split, text in TEXT.items():
            tokens = tokenize(text.replace("\r\n", "\n"), rule)
            assert data.ids(split).tolist() == data.vocabulary.encode(tokens).tolist()

    def test_vocabulary_options(self, folder):
        assert len(open_text(folder, min_count=2).vocabulary) == 4
        assert len(open_text(folder, vocabulary_size=3).vocabulary) == 3
        assert open_text(folder, min_count=2).facts("train").oov == 2

    def test_given_vocabulary(self, tmp_path):
        vocabulary = Vocabulary(["cow", "<eos>", "<unk>"])
        folder = write(tmp_path / "text", {"valid": "cow cow dog\n"})
        data = open_text(folder, vocabulary)
        assert data.vocabulary is vocabulary
        assert data.ids("valid").tolist() == [0, 0, 2, 1]

    def test_every_token_unknown(self, tmp_path):
        folder = write(tmp_path / "text", {"train": "a b\n", "test": "x y z"})
        assert counts(open_text(folder).facts("test")) == (3, 3, 5, 0)
        assert open_text(folder).facts("test").oov_rate == 1

    def test_replaced_bytes_are_counted(self, tmp_path):
        folder = write(tmp_path / "text", {"train": "a \udcff b \ufffd \udcfe\udcfd\n"})
        with pytest.raises(DataError, match="offset 2, line 1"):
            open_text(folder)
        assert open_text(folder, errors="replace").facts("train").replaced == 3

    def test_corpus_of_ones_own(self, tmp_path, monkeypatch):
        (tmp_path / "my_corpora.py").write_text(ALPHABET)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        data = open_text("my_corpora:Alphabet")
        assert data.vocabulary.tokens == ("a", "<eos>", "b", "<unk>")
        assert data.ids("train").tolist() == [0, 2, 0, 1]


class TestBytePairs:
    TEXT: ClassVar = {
        "train": "the cat sat on the mat, the other cat sat on the other mat\n" * 20,
        "test": "The dog caf\u00e9  \u05e9 <unk>\n",
    }

    @pytest.fixture
    def pairs(self, tmp_path):
        return write(tmp_path / "text", self.TEXT)

    def test_nothing_is_unknown_and_all_comes_back(self, pairs):
        data = open_text(pairs, rule="bpe", vocabulary_size=268)
        assert len(data.vocabulary) == 268
        assert len(data.vocabulary.merges) == 11
        for split, text in self.TEXT.items():
            facts = data.facts(split)
            assert (facts.oov, facts.spelling_nats, facts.characters) == (0, 0.0, len(text))
            assert detokenize(data.vocabulary.decode(data.ids(split)), "bpe") == text
        assert len(data.ids("train")) < len(self.TEXT["train"]) / 2.5

    def test_merges_are_learned_from_the_training_split_alone(self, pairs):
        before = open_text(pairs, rule="bpe", vocabulary_size=268).vocabulary
        (pairs / "test.txt").write_text("zebra " * 1_000)
        after = open_text(pairs, rule="bpe", vocabulary_size=268)
        assert after.vocabulary == before
        assert after.facts("test").tokens > 4_000

    @pytest.mark.parametrize("size", [257, 258])
    def test_the_smallest(self, pairs, size):
        data = open_text(pairs, rule="bpe", vocabulary_size=size)
        assert len(data.vocabulary) == size
        assert detokenize(data.vocabulary.decode(data.ids("test")), "bpe") == self.TEXT["test"]

    def test_a_size_without_room_for_the_bytes(self, pairs):
        with pytest.raises(ConfigError, match="vocabulary_size is 256"):
            open_text(pairs, rule="bpe", vocabulary_size=256)

    def test_without_a_size_all_that_occurs_is_merged_up_to_8000(self, pairs):
        assert 257 < len(open_text(pairs, rule="bpe").vocabulary) < 400

    def test_a_vocabulary_read_from_disk_cuts_a_text_as_in_training(self, pairs):
        data = open_text(pairs, rule="bpe", vocabulary_size=268)
        again = Vocabulary.from_json(data.vocabulary.to_json())
        ids, facts = encode_text(self.TEXT["test"], again, "bpe")
        assert ids.tolist() == data.ids("test").tolist()
        assert facts == data.facts("test")


class TestSpelling:
    def test_what_became_unk_is_spelled(self, folder):
        data = open_text(folder, min_count=2)
        spelling = Spelling.of(data.vocabulary)
        assert data.facts("train").oov == 2
        nats = -spelling.log_prob_outside("cat") - spelling.log_prob_outside("dog")
        assert data.facts("train").spelling_nats == pytest.approx(nats)
        nats = -spelling.log_prob_outside("cow")  # and the literal <unk> is not
        assert data.facts("valid").spelling_nats == pytest.approx(nats)

    def test_a_text_of_many_parts(self, tmp_path):
        vocabulary = Vocabulary(["the", "cat", "<eos>", "<unk>"])
        _, facts = encode_text("dog the " * 30_000, vocabulary, "split")
        nats = -30_000 * Spelling.of(vocabulary).log_prob_outside("dog")
        assert facts.spelling_nats == pytest.approx(nats)
        assert 0 < nats < math.inf

    def test_leaving_words_out_gains_nothing(self, data_root):
        """A unigram model of PTB: perplexity falls with the vocabulary, bits per character rise."""
        found = []
        for size in (10_000, 300, 3):
            data = TextDataset.open(TextOptions(corpus="ptb", vocabulary_size=size))
            counts = np.bincount(data.ids("train"), minlength=size) + 1.0
            log_probs = np.log(counts / counts.sum())[data.ids("test")]
            found.append(TextMetrics.of(log_probs, data.facts("test")))
        perplexities = [each.perplexity for each in found]
        bits = [each.bits_per_char for each in found]
        assert perplexities == sorted(perplexities, reverse=True)
        assert bits == sorted(bits)


class TestRefusals:
    @pytest.mark.parametrize("text", ["", " ", "\t \x0b", "\ufeff"])
    @pytest.mark.parametrize("split", ["train", "valid"])
    @pytest.mark.parametrize("rule", ["split", "words"])
    def test_no_tokens(self, text, split, rule, tmp_path):
        folder = write(tmp_path / "text", {"train": "a\n", "valid": "b\n"} | {split: text})
        with pytest.raises(DataError, match=rf"no tokens in .*{split}\.txt"):
            open_text(folder, rule=rule)

    def test_refusal_is_not_cached(self, tmp_path):
        folder = write(tmp_path / "text", {"train": ""})
        for _ in range(2):
            with pytest.raises(DataError, match="no tokens"):
                open_text(folder)
        (folder / "train.txt").write_text("a\n")
        assert len(open_text(folder).ids("train")) == 2

    def test_no_training_text(self, tmp_path):
        folder = write(tmp_path / "text", {"test": "a\n"})
        with pytest.raises(DataError, match="no training text to take a vocabulary from"):
            open_text(folder)

    def test_no_such_split(self, tmp_path):
        data = open_text(write(tmp_path / "text", {"train": "a\n"}))
        for look in (data.ids, data.facts):
            with pytest.raises(DataError, match="no test split, only train"):
                look("test")

    def test_no_such_corpus(self):
        with pytest.raises(ConfigError, match="Did you mean 'docstrings'"):
            open_text("docstring")


class TestCache:
    def count_reads(self, monkeypatch):
        reads = []
        plain = module.tokens
        monkeypatch.setattr(module, "tokens", lambda *args: reads.append(1) or plain(*args))
        return reads

    def test_second_opening_reads_nothing(self, folder, cache, monkeypatch):
        reads = self.count_reads(monkeypatch)
        first = open_text(folder)
        assert len(reads) == 4  # the vocabulary, and three splits
        second = open_text(folder)
        assert len(reads) == 4
        assert first.fingerprint == second.fingerprint
        assert first.facts("train") == second.facts("train")
        assert Path(first.ids("train").filename).is_relative_to(cache)

    def test_path_and_order_do_not_matter_but_content_does(self, folder, tmp_path):
        moved = write(tmp_path / "elsewhere", dict(reversed(TEXT.items())))
        assert open_text(folder).fingerprint == open_text(moved).fingerprint
        (moved / "test.txt").write_text("a caT\n")
        assert open_text(folder).fingerprint != open_text(moved).fingerprint

    def test_every_option_of_the_text_matters(self, folder):
        options = [{}, {"rule": "split"}, {"rule": "characters"}, {"min_count": 2}]
        options += [{"rule": "bpe"}]
        options += [{"vocabulary_size": 3}, {"errors": "replace"}]
        assert len({open_text(folder, **each).fingerprint for each in options}) == len(options)

    def test_given_vocabulary_shares_the_ids(self, folder, monkeypatch):
        first = open_text(folder)
        reads = self.count_reads(monkeypatch)
        second = open_text(folder, first.vocabulary)
        assert reads == []
        assert second.fingerprint == first.fingerprint

    @pytest.mark.parametrize(
        "name", ["train.ids", "facts.json", "vocabulary.json", "manifest.json"]
    )
    def test_damage_is_mended(self, name, folder, cache):
        before = open_text(folder)
        expected = before.ids("train").tolist()
        for path in cache.rglob(name):
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.unlink()
            path.write_bytes(data)
        after = open_text(folder)
        assert after.ids("train").tolist() == expected
        assert after.vocabulary == before.vocabulary

    def test_unwritable_cache(self, folder, cache, tmp_path, monkeypatch):
        monkeypatch.setattr(folders, "_private_folder", lambda: tmp_path / "private")
        cache.touch()
        ids = open_text(folder).ids("train")
        assert len(ids) == 8
        assert Path(ids.filename).is_relative_to(tmp_path / "private")

    def test_full_disk(self, folder, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module, "_encode", full)
        with pytest.raises(ResourceError, match="no space is left"):
            open_text(folder)


class TestEncodeText:
    vocabulary = Vocabulary(["a", "<eos>", "<unk>"])

    def test_string(self):
        ids, facts = encode_text("a b <unk>\na", self.vocabulary, "split")
        assert ids.tolist() == [0, 2, 2, 1, 0]
        assert ids.dtype == np.int32
        assert counts(facts) == (5, 1, 11, 0)

    def test_file(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_bytes(b"\xef\xbb\xbfa b\r\n\xff")
        with pytest.raises(DataError, match="offset 8, line 2"):
            encode_text(path, self.vocabulary, "split")
        ids, facts = encode_text(path, self.vocabulary, "split", errors="replace")
        assert ids.tolist() == [0, 2, 1, 2]
        assert counts(facts) == (4, 2, 5, 1)

    def test_no_tokens(self, tmp_path):
        path = tmp_path / "text.txt"
        path.write_text(" ")
        with pytest.raises(DataError, match=r"no tokens in .*text\.txt"):
            encode_text(path, self.vocabulary, "words")
        with pytest.raises(DataError, match="no tokens in the text"):
            encode_text("", self.vocabulary, "characters")

    def test_full_disk(self, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module, "_encode", full)
        with pytest.raises(ResourceError, match="no space is left"):
            encode_text("a", self.vocabulary, "split")

    def test_nothing_to_divide_by(self):
        assert SplitFacts(0, 0, 0, 0).oov_rate == 0


class TestPtb:
    @pytest.fixture(scope="class")
    @staticmethod
    def ptb(data_root, tmp_path_factory):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECURRA_CACHE", str(tmp_path_factory.mktemp("ptb")))
            return TextDataset.open(TextOptions(corpus="ptb"))

    def test_counts(self, ptb):
        assert len(ptb.vocabulary) == 10_000
        assert [len(ptb.ids(split)) for split in ptb.splits] == [929_589, 73_760, 82_430]
        assert [ptb.facts(split).oov for split in ptb.splits] == [0, 0, 0]
        assert [ptb.facts(split).characters for split in ptb.splits] == [
            5_101_618,
            399_782,
            449_945,
        ]
        assert ptb.vocabulary.eos == 2
        assert ptb.vocabulary.decode([0, 1, 2, 3]) == ["the", "<unk>", "<eos>", "N"]

    def test_the_tutorials_ids(self, ptb):
        # fmt: off
        assert ptb.ids("train")[:100].tolist() == [
            9970, 9971, 9972, 9974, 9975, 9976, 9980, 9981, 9982, 9983, 9984, 9986, 9987, 9988,
            9989, 9991, 9992, 9993, 9994, 9995, 9996, 9997, 9998, 9999, 2, 9256, 1, 3, 72, 393, 33,
            2133, 0, 146, 19, 6, 9207, 276, 407, 3, 2, 23, 1, 13, 141, 4, 1, 5465, 0, 3081, 1596,
            96, 2, 7682, 1, 3, 72, 393, 8, 337, 141, 4, 2477, 657, 2170, 955, 24, 521, 6, 9207,
            276, 4, 39, 303, 438, 3684, 2, 6, 942, 4, 3150, 496, 263, 5, 138, 6092, 4241, 6036, 30,
            988, 6, 241, 760, 4, 1015, 2786, 211, 6, 96, 4,
        ]
        # fmt: on

    def test_the_tutorials_batches(self, ptb):
        batches = StreamBatches(ptb.ids("train"), batch_size=4, chunk_length=5)
        inputs = [batches.batch(k)[0].tolist() for k in range(3)]
        targets = [batches.batch(k)[1].tolist() for k in range(3)]
        assert inputs == [
            [
                [9970, 9971, 9972, 9974, 9975],
                [332, 7147, 328, 1452, 8595],
                [1969, 0, 98, 89, 2254],
                [3, 3, 2, 14, 24],
            ],
            [
                [9976, 9980, 9981, 9982, 9983],
                [59, 1569, 105, 2231, 1],
                [0, 312, 1641, 4, 1063],
                [198, 150, 2262, 10, 0],
            ],
            [
                [9984, 9986, 9987, 9988, 9989],
                [895, 1, 5574, 4, 618],
                [8, 713, 0, 264, 820],
                [507, 74, 2619, 0, 1],
            ],
        ]
        assert targets == [
            [
                [9971, 9972, 9974, 9975, 9976],
                [7147, 328, 1452, 8595, 59],
                [0, 98, 89, 2254, 0],
                [3, 2, 14, 24, 198],
            ],
            [
                [9980, 9981, 9982, 9983, 9984],
                [1569, 105, 2231, 1, 895],
                [312, 1641, 4, 1063, 8],
                [150, 2262, 10, 0, 507],
            ],
            [
                [9986, 9987, 9988, 9989, 9991],
                [1, 5574, 4, 618, 2],
                [713, 0, 264, 820, 2],
                [74, 2619, 0, 1, 8],
            ],
        ]

    def test_a_directory_of_the_same_files_is_the_same_text(self, ptb, data_root):
        other = open_text(data_root / "ptb")
        assert other.rule == "split"
        assert other.vocabulary == ptb.vocabulary

    def test_opening_is_quick(self, data_root):
        seconds = []
        for _ in range(2):
            start = time.process_time()  # not the clock on the wall: others may be at work
            TextDataset.open(TextOptions(corpus="ptb"))
            seconds.append(time.process_time() - start)
        cold, warm = seconds
        assert cold < 6  # a second on a quiet machine
        assert warm < min(1, cold / 3)


MEASURE = """
import sys
from recurra.language.text.dataset import TextDataset, encode_text
from recurra.language.options import TextOptions
from pathlib import Path
from typing import ClassVar

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

small, large, rule, tokens = sys.argv[1:]
vocabulary = TextDataset.open(TextOptions(corpus=small, rule=rule)).vocabulary
encode_text(Path(small) / "train.txt", vocabulary, rule)
before = peak()
data = TextDataset.open(TextOptions(corpus=large, rule=rule))
assert data.facts("train").tokens == int(tokens), data.facts("train")
ids, facts = encode_text(Path(large) / "train.txt", vocabulary, rule)
assert facts.tokens == int(tokens)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured on Linux")
@pytest.mark.parametrize(
    ("rule", "unit", "tokens", "megabytes"),
    [
        ("split", b"the cat sat on the mat and saw ", 8, 20),
        ("words", b"The cat sat, on the mat; saw -- ", 11, 20),
        ("characters", "the cat säs on the mat and saw".encode(), 30, 20),
        ("split", b"onewordwithoutaspaceanywhereatall", None, 20),
        ("bpe", b" cat sat, on; mats", 6, 10),
    ],
    ids=["split", "words", "characters", "one word", "bpe"],
)
def test_a_huge_line_takes_little_memory(rule, unit, tokens, megabytes, tmp_path):
    times = megabytes * 1_000_000 // len(unit)
    small = write(tmp_path / "small", {"train": unit.decode() * 10_000, "valid": "a"})
    large = write(tmp_path / "large", {"valid": "a"})
    with (large / "train.txt").open("wb") as file:
        for _ in range(100):
            file.write(unit * (times // 100))
    size = (large / "train.txt").stat().st_size
    expected = times // 100 * 100 * tokens if tokens else -(-size // 65_536)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(large), rule, str(expected)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 25  # MiB; a line held whole, as bytes and as text, takes 40 or more
