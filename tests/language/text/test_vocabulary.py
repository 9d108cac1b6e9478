from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import CheckpointError, DataError
from recurra.language.text import vocabulary as module
from recurra.language.text.byte_pairs import BYTES
from recurra.language.text.tokenization import (
    EOS,
    UNK,
    detokenize,
    learn_merges,
    tokenize,
    tokens,
)
from recurra.language.text.vocabulary import Vocabulary

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "é", EOS, UNK]) | st.text(max_size=2))


class TestConstruction:
    def test_ids_are_places(self):
        vocabulary = Vocabulary(["the", EOS, UNK, "cat"])
        assert len(vocabulary) == 4
        assert vocabulary.ids == {"the": 0, EOS: 1, UNK: 2, "cat": 3}
        assert (vocabulary.eos, vocabulary.unk) == (1, 2)

    def test_is_frozen_and_apart_from_its_list(self):
        tokens = ["a", EOS, UNK]
        vocabulary = Vocabulary(tokens)
        tokens.append("b")
        assert len(vocabulary) == 3
        assert vocabulary == Vocabulary(("a", EOS, UNK))
        with pytest.raises(AttributeError):
            vocabulary.tokens = ("b",)

    @pytest.mark.parametrize(
        ("tokens", "message"),
        [
            (["a", "a", EOS, UNK], "'a' is in the vocabulary twice"),
            (["a", UNK], "no <eos>"),
            ([EOS], "no <unk>"),
        ],
    )
    def test_refused(self, tokens, message):
        with pytest.raises(DataError, match=message):
            Vocabulary(tokens)

    def test_too_many(self, monkeypatch):
        monkeypatch.setattr(module, "LARGEST", 2)
        with pytest.raises(DataError, match="3 tokens are more than a vocabulary's 2"):
            Vocabulary(["a", EOS, UNK])


class TestCount:
    def test_order_is_count_then_code_point(self):
        text = ["b", "é", "a", "B", "b", EOS, "a", EOS, "<s>"]
        assert Vocabulary.count([text]).tokens == (EOS, "a", "b", "<s>", "B", "é", UNK)

    def test_lists_add_up(self):
        assert Vocabulary.count([["a", "b"], [], ["b"]]).tokens == ("b", "a", EOS, UNK)

    def test_empty_text(self):
        assert Vocabulary.count([]).tokens == (EOS, UNK)

    def test_literal_special_tokens_are_counted(self):
        text = ["a", UNK, UNK, "b", EOS, "b", "b"]
        assert Vocabulary.count([text]).tokens == ("b", UNK, EOS, "a")

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"min_count": 2}, ("a", UNK, "b", EOS)),
            ({"min_count": 3}, (UNK, "a", EOS)),
            ({"min_count": 9}, (UNK, EOS)),
            ({"max_size": 3}, (UNK, "a", EOS)),
            ({"max_size": 4}, ("a", UNK, "b", EOS)),
            ({"max_size": 5}, ("a", "b", EOS, UNK, "c")),
            ({"max_size": 6}, ("a", "b", EOS, "c", "d", UNK)),
            ({"max_size": 5, "min_count": 2}, ("a", UNK, "b", EOS)),
        ],
    )
    def test_pruned_counts_go_to_unk(self, options, expected):
        text = ["a"] * 3 + ["b"] * 2 + ["c", "d", EOS]
        assert Vocabulary.count([text], **options).tokens == expected

    @given(WORDS, st.integers(2, 8), st.integers(1, 3))
    def test_against_a_plain_definition(self, text, max_size, min_count):
        counts = Counter(text)
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        ranked = [t for t in ranked if t not in (EOS, UNK) and counts[t] >= min_count]
        kept = {token: counts[token] for token in ranked[: max_size - 2]}
        full = {**kept, EOS: counts[EOS], UNK: 0}
        full[UNK] = len(text) - sum(full.values())
        expected = sorted(full, key=lambda token: (-full[token], token))
        found = Vocabulary.count([text], max_size, min_count)
        assert list(found.tokens) == expected
        assert Counter(found.encode(text).tolist()) == {
            found.ids[token]: count for token, count in full.items() if count
        }

    def test_too_many_different_tokens(self, monkeypatch):
        monkeypatch.setattr(module, "LARGEST", 3)
        with pytest.raises(DataError, match=r"more than 3 .* data\.rule=characters"):
            Vocabulary.count([["a", "b"], ["c", "d"]])


class TestEncode:
    def test_unknown_becomes_unk(self):
        ids = Vocabulary(["a", EOS, UNK]).encode(["a", "x", EOS, UNK, ""])
        assert ids.dtype == np.int32
        assert ids.tolist() == [0, 2, 1, 2, 2]

    def test_nothing(self):
        assert Vocabulary([EOS, UNK]).encode([]).shape == (0,)

    @given(WORDS)
    def test_round_trip(self, text):
        vocabulary = Vocabulary.count([text])
        assert vocabulary.decode(vocabulary.encode(text)) == text


class TestMerges:
    merges = (("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc"))
    tokens = (EOS, UNK, *BYTES, "ab", "abc", "bc")

    def test_counted_with_all_that_can_be_made(self):
        stream = [["abc", "abc", "a", EOS], ["z", "z", "z"]]
        vocabulary = Vocabulary.count(stream, 260, 2, self.merges)
        assert vocabulary.tokens[:4] == ("z", "abc", EOS, "a")
        assert set(vocabulary.tokens) == set(self.tokens)
        assert vocabulary.tokens[4:] == tuple(sorted(vocabulary.tokens[4:]))
        assert vocabulary.merges == self.merges

    def test_json(self):
        vocabulary = Vocabulary(self.tokens, self.merges)
        again = Vocabulary.from_json(vocabulary.to_json())
        assert again == vocabulary and again.merges == self.merges
        assert again.fingerprint() == vocabulary.fingerprint()
        assert vocabulary.fingerprint() != Vocabulary(self.tokens).fingerprint()

    def test_none_are_not_written(self):
        assert Vocabulary(["a", EOS, UNK]).to_json() == b'{"tokens": ["a", "<eos>", "<unk>"]}'
        assert Vocabulary(["a", EOS, UNK]).merges == ()

    def test_read_back_they_cut_as_before(self):
        text = "the cat sat on the mat, the other cats sat on the other mats\n" * 9
        merges = learn_merges([text], 270)
        vocabulary = Vocabulary.count(tokens([text], "bpe", merges), merges=merges)
        again = Vocabulary.from_json(vocabulary.to_json())
        other = "another cat's mat: caf\u00e9\n"
        for each in (text, other):
            first = vocabulary.encode(tokenize(each, "bpe", merges))
            assert again.encode(tokenize(each, "bpe", again.merges)).tolist() == first.tolist()
            assert again.unk not in first
            assert detokenize(again.decode(first), "bpe") == each
        assert len(vocabulary) == 270

    @pytest.mark.parametrize(
        ("tokens", "merges", "message"),
        [
            (tokens, (*merges, ("a", "b")), "a merge is in the vocabulary twice"),
            (tokens, (("ab", "c"), ("a", "b")), "'ab' and 'c' cannot be"),
            (tokens, (("a", "\n"),), "cannot be"),
            (tokens, (("", "a"),), "cannot be"),
            (tokens, (("a", EOS),), "cannot be"),
            (tokens, (("<", "u"), ("<u", "n"), ("<un", "k"), ("<unk", ">")), "cannot be"),
            (tokens, merges[:1], "2 tokens differ .* 'abc'"),
            (tokens[:-1], merges, "1 tokens differ .* 'bc'"),
            ((EOS, UNK, "ab"), merges[:1], "255 tokens differ"),
        ],
    )
    def test_those_that_make_other_tokens_are_refused(self, tokens, merges, message):
        with pytest.raises(DataError, match=message):
            Vocabulary(tokens, merges)
        written = json.dumps({"tokens": tokens, "merges": merges}).encode()
        with pytest.raises(CheckpointError, match="vocabulary"):
            Vocabulary.from_json(written)

    @pytest.mark.parametrize(
        "merges",
        [3, "ab", {"a": "b"}, ["ab"], [["a"]], [["a", "b", "c"]], [["a", 3]], [None], None],
    )
    def test_hostile(self, merges):
        data = json.dumps({"tokens": self.tokens, "merges": merges}).encode()
        with pytest.raises(CheckpointError, match="vocabulary"):
            Vocabulary.from_json(data)


class TestJson:
    @given(st.sets(st.text() | st.sampled_from(["\ud800", "\x00", '"', "\\", "שלום"])))
    def test_round_trip(self, tokens):
        vocabulary = Vocabulary([*(tokens - {EOS, UNK}), EOS, UNK])
        data = vocabulary.to_json()
        data.decode("ascii")
        assert Vocabulary.from_json(data) == vocabulary
        assert Vocabulary.from_json(data).fingerprint() == vocabulary.fingerprint()

    def test_fingerprint_depends_on_tokens_and_order(self):
        orders = [["a", EOS, UNK], [EOS, "a", UNK], ["b", EOS, UNK], [EOS, UNK]]
        assert len({Vocabulary(tokens).fingerprint() for tokens in orders}) == 4

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"\xff\xfe",
            b"[]",
            b"null",
            b"{}",
            b'{"tokens": 3}',
            b'{"tokens": "<eos><unk>"}',
            b'{"tokens": ["<eos>", "<unk>", 3]}',
            b'{"tokens": ["<eos>", "<unk>", null]}',
            b'{"tokens": ["<eos>", "<unk>", "<unk>"]}',
            b'{"tokens": ["<eos>"]}',
            b'{"tokens": ["<unk>"]}',
            b'{"tokens": {"<eos>": 0, "<unk>": 1}}',
            b'{"tokens": ' + b"[" * 100_000,
            b"[" * 100_000 + b"]" * 100_000,
        ],
    )
    def test_hostile(self, data):
        with pytest.raises(CheckpointError, match="vocabulary"):
            Vocabulary.from_json(data)

    def test_absurd_size(self, monkeypatch):
        data = json.dumps({"tokens": ["a", EOS, UNK]}).encode()
        monkeypatch.setattr(module, "LARGEST_FILE", len(data) - 1)
        with pytest.raises(CheckpointError, match=r"is over 34: .* set RECURRA_MOST_MB=1"):
            Vocabulary.from_json(data)
        monkeypatch.setattr(module, "LARGEST_FILE", len(data))
        monkeypatch.setattr(module, "LARGEST", 2)
        with pytest.raises(CheckpointError, match="3 tokens are more than"):
            Vocabulary.from_json(data)
