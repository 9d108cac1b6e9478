"""The next word, and the rest of one that is begun."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.tokenization import tokenize
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use.suggestion import suggest

WORDS = Vocabulary(
    ["the", "<eos>", "cat", "catch", "<unk>", "cats", "a", "don't", "don", "'", ".", "e-mail", "e"]
)
CHARACTERS = Vocabulary(["<eos>", "<unk>", " ", "a", "b", "\t"])


def network(vocabulary: Vocabulary, rule: str, scale: float = 1.0) -> NetworkModel:
    options = NetworkOptions(hidden_size=7, init_scale=scale, zero_bias=False)
    made = LanguageNetwork(options, len(vocabulary), torch.Generator().manual_seed(3))
    return NetworkModel(made, options, vocabulary, rule)


@pytest.fixture
def words() -> NetworkModel:
    return network(WORDS, "words")


def after(model: NetworkModel, tokens: list[str]) -> dict[str, float]:
    """What is next, by one step at a time."""
    log_probs, state = model.step(model.vocabulary.eos, model.initial_state())
    for token in model.vocabulary.encode(tokens).tolist():
        log_probs, state = model.step(token, state)
    return dict(zip(model.vocabulary.tokens, log_probs.double().exp().tolist()))


# Where tokens are words


@pytest.mark.parametrize("text", ["", "the cat ", "The  cats\n", "zebra\t", "a.", "a <unk>"])
def test_the_next_word_has_the_model_s_probability(words: NetworkModel, text: str) -> None:
    expected = after(words, tokenize(text, "words"))
    del expected["<unk>"]
    ordered = sorted(expected, key=lambda token: -expected[token])
    found = suggest(words, text, 4)
    assert [each.token for each in found] == ordered[:4]
    assert [each.probability for each in found] == pytest.approx(
        [expected[token] for token in ordered[:4]], abs=1e-6
    )
    assert len(suggest(words, text, 100)) == len(WORDS) - 1


@pytest.mark.parametrize(
    ("text", "read", "completions"),
    [
        ("a ca", ["a"], {"cat", "catch", "cats"}),
        ("a CAT", ["a"], {"cat", "catch", "cats"}),
        ("catc", [], {"catch"}),
        ("the.do", ["the", "."], {"don't", "don"}),
        ("the don'", ["the"], {"don't"}),
        ("an e-", ["an"], {"e-mail"}),
        ("a\ncats", ["a", "<eos>"], {"cats"}),
    ],
)
def test_a_begun_word_is_completed(
    words: NetworkModel, text: str, read: list[str], completions: set[str]
) -> None:
    expected = after(words, read)
    total = sum(expected[token] for token in completions)
    found = suggest(words, text, 10)
    assert {each.token for each in found} == completions
    for each in found:
        assert each.probability == pytest.approx(expected[each.token] / total, abs=1e-6)
    assert [each.probability for each in found] == sorted(
        (each.probability for each in found), reverse=True
    )
    assert sum(each.probability for each in found) == pytest.approx(1, abs=1e-9)


def test_what_begins_no_word_has_no_completion(words: NetworkModel) -> None:
    assert suggest(words, "zebr") == []
    assert suggest(network(WORDS, "split"), "<un") == []
    assert suggest(network(WORDS, "split"), "<e") == []


def test_split_text_completes_whatever_stands_after_the_last_space() -> None:
    model = network(WORDS, "split")
    assert {each.token for each in suggest(model, "the don'")} == {"don't"}
    assert {each.token for each in suggest(model, "the .")} == {"."}
    assert suggest(model, "the CAT") == []


@pytest.mark.parametrize("top", [0, -1, 1.5])
def test_the_number_of_suggestions_is_positive(words: NetworkModel, top: int) -> None:
    with pytest.raises(ConfigError, match="top is a whole number from 1, got"):
        suggest(words, "", top)


# Where they are characters


def spelled(model: NetworkModel, read: str, longest: int) -> dict[str, float]:
    """The probability of every word of a's and b's that white space ends."""
    before = model.vocabulary.encode(list(read))
    lengths = range(1, longest + 1)
    words = ["".join(word) for n in lengths for word in itertools.product("ab", repeat=n)]
    ends = model.vocabulary.encode([" ", "\t", "<eos>"])
    lines = [
        np.concatenate([before, model.vocabulary.encode(list(word)), [end]])
        for word in words
        for end in ends
    ]
    scored = model.log_probs_of_lines(lines)
    each = [math.exp(nats[len(before) :].sum()) for nats in scored]
    return {word: math.fsum(each[3 * n : 3 * n + 3]) for n, word in enumerate(words)}


@pytest.mark.parametrize("read", ["", "ab ", "b\ta "])
def test_whole_words_are_put_together_of_characters(read: str) -> None:
    model = network(CHARACTERS, "characters")
    expected = spelled(model, read, 6)
    found = suggest(model, read, 3)
    assert [each.token for each in found] == sorted(expected, key=lambda w: -expected[w])[:3]
    for each in found:
        assert each.probability == pytest.approx(expected[each.token], rel=1e-5)


@pytest.mark.parametrize("begun", ["a", "ab", "bba"])
def test_a_word_begun_is_gone_on_with_by_characters(begun: str) -> None:
    model = network(CHARACTERS, "characters")
    whole = spelled(model, "b ", 7)
    scale = 1.0
    for n, letter in enumerate(begun):
        scale *= after(model, ["b", " ", *begun[:n]])[letter]
    expected = {word: p / scale for word, p in whole.items() if word.startswith(begun)}
    found = suggest(model, f"b {begun}", 3)
    assert [each.token for each in found] == sorted(expected, key=lambda w: -expected[w])[:3]
    for each in found:
        assert each.probability == pytest.approx(expected[each.token], rel=1e-5)


def test_the_probabilities_of_all_words_make_up_at_most_one() -> None:
    model = network(CHARACTERS, "characters", scale=2.0)
    for text in ("a", "b ab", "b "):
        found = suggest(model, text, 200)
        assert math.fsum(each.probability for each in found) <= 1 + 1e-9
        assert all("<unk>" not in each.token and each.token.strip("ab") == "" for each in found)


def test_a_character_that_is_not_known_begins_no_word() -> None:
    assert suggest(network(CHARACTERS, "characters"), "ab x") == []


# Where they are byte pairs


@pytest.fixture
def pairs() -> NetworkModel:
    pytest.importorskip("tokenizers")
    merges = (("\u0120", "a"), ("a", "b"), ("\u0120", "ab"), ("b", "b"))
    return network(Vocabulary.count([], merges=merges), "bpe", scale=2.0)


def test_byte_pairs_are_put_together_to_words(pairs: NetworkModel) -> None:
    found = suggest(pairs, "ab b", 8)
    assert len(found) == 8
    assert all(each.token.startswith("b") for each in found)
    assert all(each.token == each.token.strip() for each in found)
    assert [each.probability for each in found] == sorted(
        (each.probability for each in found), reverse=True
    )
    assert len({each.token for each in found}) == 8


def test_a_word_cut_otherwise_than_its_beginning_is_found(pairs: NetworkModel) -> None:
    """All ways that a word is put together count, among them " ab" as one token after " a"."""
    vocabulary = pairs.vocabulary
    tokens = np.array(vocabulary.tokens)
    spaces = [char for code in range(128) if (char := chr(code)).isspace() and char != "\n"]
    shown = {token for space in spaces for token in tokenize(space, "bpe")}
    white = np.array([token[0] in shown for token in tokens])
    white[vocabulary.eos] = True
    total = 0.0
    for pieces in (["\u0120ab"], ["\u0120a", "b"], ["\u0120", "ab"], ["\u0120", "a", "b"]):
        probability = 1.0
        for n, piece in enumerate(pieces):
            probability *= after(pairs, ["bb", *pieces[:n]])[piece]
        ends = after(pairs, ["bb", *pieces])
        total += probability * sum(ends[token] for token in tokens[white])
    begins = ["\u0120a", "\u0120ab"]
    reached = sum(after(pairs, ["bb"])[piece] for piece in begins) + after(pairs, ["bb"])[
        "\u0120"
    ] * sum(after(pairs, ["bb", "\u0120"])[piece] for piece in ("a", "ab"))
    found = {each.token: each.probability for each in suggest(pairs, "bb a", 60)}
    assert found["ab"] == pytest.approx(total / reached, rel=1e-4)


def test_a_space_at_the_end_belongs_to_the_next_word(pairs: NetworkModel) -> None:
    spaced = suggest(pairs, "bb ", 30)
    assert spaced and all(each.token.strip() == each.token != "" for each in spaced)
    assert {each.token for each in suggest(pairs, "", 5)} - {""}
