"""How words are spelled: a distribution over all strings, whatever they hold."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.language.text.spelling import MOST_REMEMBERED, ORDER, Spelling
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey

ALL = 0x110000  # characters a string can hold


def spelling(*words: str) -> Spelling:
    return Spelling.of(Vocabulary(["<eos>", *words, "<unk>"]))


def test_equals_the_product_of_its_characters() -> None:
    """By the conditional distributions one after the other, with the empty string ruled out."""
    words = ["cab", "abba", "b", "cabby"]
    ids = {character: 2 + n for n, character in enumerate("abcy")}
    text = [n for word in words for n in (*[ids[c] for c in word], 0)]
    model = KneserNey.fit(text, ORDER, 6, 0)
    found = spelling(*words)
    for word in ("a", "cab", "abc", "yyyyyyyyyy", "bzb", "éa"):
        history: list[int] = []
        total = -math.log(1 - math.exp(model.distribution([])[0]))
        for character in word:
            total += model.distribution(history)[ids.get(character, 1)]
            total -= 0 if character in ids else math.log(ALL - 4)
            history.append(ids.get(character, 1))
        total += model.distribution(history)[0]
        assert found.log_prob(word) == pytest.approx(total, rel=1e-12)
        assert found.bits(word) == pytest.approx(-total / math.log(2), rel=1e-12)


def test_all_strings_sum_to_one() -> None:
    """All strings of up to 6 characters, and what begins with one of the longest."""
    found = spelling("ab", "ba", "a", "bab")
    kinds = {"a": 1, "b": 1, "z": ALL - 2}  # one stands for each that is not known
    longest, total = 6, 0.0
    for length in range(1, longest + 1):
        for word in map("".join, product(kinds, repeat=length)):
            times = math.prod(kinds[character] for character in word)
            total += times * math.exp(found.log_prob(word))
            if length == longest:
                ids = [{"a": 2, "b": 3}.get(character, 1) for character in word]
                ends = math.exp(found.ngrams.distribution(ids)[0])
                total += times * math.exp(found.log_prob(word)) / ends * (1 - ends)
    assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "word",
    [
        "\ud800",
        "\udfff\ud800",
        "שלום",
        "猫",
        "\0",
        " ",
        "a\nb",
        "🦜",
        "e\u0301",
        "x" * 10_000,
        "<unk>",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("words", [("cat", "cats"), tuple("abc \t"), ()], ids=len)
def test_any_string_has_a_finite_probability(words: tuple[str, ...], word: str) -> None:
    found = spelling(*words).log_prob(word)
    assert -1e6 < found < 0


@given(st.lists(st.text(min_size=1, max_size=8), max_size=8, unique=True), st.text(min_size=1))
def test_any_vocabulary_spells_any_string(words: list[str], word: str) -> None:
    found = spelling(*(set(words) - {"<eos>", "<unk>"}))
    log_prob = found.log_prob(word)
    assert math.isfinite(log_prob)
    assert log_prob < 0
    assert found.log_prob(word) == log_prob  # remembered
    assert -30 < found.log_outside <= 0


def test_the_empty_string_is_refused() -> None:
    with pytest.raises(DataError, match="the empty string is no word"):
        spelling("a").log_prob("")


def test_is_a_function_of_the_vocabulary() -> None:
    words = ["walk", "walked", "talk", "talking"]
    one, two = spelling(*words), spelling(*words)
    other = spelling("zebra", "quagga")
    for word in ("walking", "zebras", "猫"):
        assert one.log_prob(word) == two.log_prob(word)
        assert one.log_prob(word) != other.log_prob(word)
    assert one.log_prob("walking") > other.log_prob("walking")
    assert one.log_prob("zebras") < other.log_prob("zebras")


def test_special_tokens_are_not_learned_from() -> None:
    assert spelling("ab", "b").characters == {"a": 2, "b": 3}


def test_unknown_characters_are_alike() -> None:
    found = spelling("ab", "b")
    probabilities = {found.log_prob(c) for c in ("z", "é", "猫", "\ud800", "\U0010ffff")}
    assert len(probabilities) == 1


def test_outside_is_all_but_the_vocabulary() -> None:
    words = ["ab", "ba", "a", "bab"]
    found = spelling(*words)
    inside = sum(math.exp(found.log_prob(word)) for word in words)
    assert found.log_outside == pytest.approx(math.log(1 - inside), rel=1e-9)
    assert found.log_prob_outside("zzq") == found.log_prob("zzq") - found.log_outside


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_REMEMBERED < 100_000
    monkeypatch.setattr("recurra.language.text.spelling.MOST_REMEMBERED", 3)
    found = spelling("ab", "b")
    expected = [spelling("ab", "b").log_prob("a" * n) for n in range(1, 9)]
    assert [found.log_prob("a" * n) for n in (*range(1, 9),)] == expected
    assert len(found._remembered) <= 3
    found.log_prob("b" * 1000)
    assert "b" * 1000 not in found._remembered


def test_learns_from_a_bounded_number_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recurra.language.text.spelling.MOST_WORDS", 2)
    assert spelling("a", "b", "c", "d").log_prob("ab") == pytest.approx(
        spelling("a", "b").log_prob("ab")
    )
    assert "z" not in spelling("z" * 101, "b").characters


def test_on_ptb(data_root: Path) -> None:
    """Held-out words of the rarer half, in bits per character; all is quickly made."""
    text = (data_root / "ptb" / "ptb.train.txt").read_text().replace("\n", " <eos> ").split()
    counts = Counter(text)
    types = sorted(counts.keys() - {"<eos>", "<unk>"}, key=lambda w: (-counts[w], w))
    half = len(types) // 2
    picked = np.random.default_rng(0).permutation(np.arange(half, len(types)))[: half // 5]
    held = [types[n] for n in picked]
    begun = time.process_time()
    found = spelling(*[word for word in types if word not in set(held)])
    assert time.process_time() - begun < 3
    characters = sum(len(word) + 1 for word in held)
    assert sum(map(found.bits, held)) / characters == pytest.approx(2.774, abs=0.01)
    assert found.log_prob("walkers") > found.log_prob("srekalw")
