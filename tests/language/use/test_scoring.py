"""How likely lines are: alone, as a document, after a context, with words not known."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.errors import ConfigError
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.spelling import Spelling
from recurra.language.text.tokenization import tokenize
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use import scoring
from recurra.language.use.scoring import Score, TokenScore, lines, score
from recurra.ngram import KneserNey

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat", "."])
LINES = ["The cat sat on a mat.", "", "a cat", "zebra the <unk>", "  ", "the cat sat . . . on", "a"]


def network(vocabulary: Vocabulary = WORDS, rule: str = "words") -> NetworkModel:
    options = NetworkOptions(hidden_size=7, init_scale=1.0, zero_bias=False)
    made = LanguageNetwork(options, len(vocabulary), torch.Generator().manual_seed(2))
    return NetworkModel(made, options, vocabulary, rule)


def ngrams() -> NgramModel:
    ids = np.random.default_rng(1).choice(len(WORDS), 300)
    counts = KneserNey.fit(ids, 3, len(WORDS), WORDS.eos)
    return NgramModel(counts, WORDS, "split")


@pytest.fixture(params=["network", "ngrams"])
def model(request: pytest.FixtureRequest) -> NetworkModel | NgramModel:
    return network() if request.param == "network" else ngrams()


def stepped(model: Any, tokens: list[str], state: Any = None) -> tuple[list[float], Any]:
    """Every token's log-probability by one step at a time, and the state then."""
    ids = model.vocabulary.encode(tokens).tolist()
    if state is None:
        state = model.step(model.vocabulary.eos, model.initial_state())
    found = []
    for token in ids:
        found.append(float(state[0][token]))
        state = model.step(token, state[1])
    return found, state


def nats(scores: Any) -> list[list[float]]:
    return [[token.log_prob for token in each.tokens] for each in scores]


def assert_same(found: list[list[float]], expected: list[list[float]]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-6)


# What is scored


def test_lines_alone_are_texts_of_their_own(model: NetworkModel | NgramModel) -> None:
    found = list(score(model, LINES))
    tokens = [[*tokenize(line, model.rule), "<eos>"] for line in LINES]
    assert [each.text for each in found] == LINES
    assert [[token.token for token in each.tokens] for each in found] == tokens
    assert_same(nats(found), [stepped(model, line)[0] for line in tokens])


def test_a_document_carries_its_state(model: NetworkModel | NgramModel) -> None:
    state, expected = None, []
    for line in LINES:
        each, state = stepped(model, [*tokenize(line, model.rule), "<eos>"], state)
        expected.append(each)
    found = list(score(model, LINES, context="document"))
    assert [each.text for each in found] == LINES
    assert_same(nats(found), expected)


def test_a_longer_document_is_the_same_token_by_token(
    model: NetworkModel | NgramModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(score(model, LINES, context="document", given="the cat\na"))
    read = []
    monkeypatch.setattr(scoring, "DOCUMENT", 15)
    monkeypatch.setattr(type(model), "log_probs_of", None)
    texts = (read.append(line) or line for line in LINES)
    found = score(model, texts, context="document", given="the cat\na")
    first = next(found)
    assert len(read) in (3, 4)  # by rule; what did not fit any more, and no further
    rest = list(found)
    assert_same(nats([first, *rest]), nats(expected))
    assert [each.text for each in [first, *rest]] == LINES


@pytest.mark.parametrize("given", ["the", "the cat sat\n", "A zebra\n\nthe"])
def test_what_is_given_is_read_and_not_scored(model: NetworkModel | NgramModel, given: str) -> None:
    _, before = stepped(model, tokenize(given, model.rule))
    alone = [stepped(model, [*tokenize(line, model.rule), "<eos>"], before)[0] for line in LINES]
    assert_same(nats(score(model, LINES, given=given)), alone)
    document, state = [], before
    for line in LINES:
        each, state = stepped(model, [*tokenize(line, model.rule), "<eos>"], state)
        document.append(each)
    assert_same(nats(score(model, LINES, given=given, context="document")), document)


def test_newlines_end_lines_and_may_stand_within_them() -> None:
    model = network()
    whole = next(score(model, ["a cat\nthe mat"]))
    assert [token.token for token in whole.tokens] == ["a", "cat", "<eos>", "the", "mat", "<eos>"]
    assert whole.tokens[2].log_prob == pytest.approx(
        next(score(model, ["a cat\n"])).tokens[2].log_prob, abs=5e-6
    )
    assert [each.text for each in score(model, ["a\n", "\n"])] == ["a", ""]
    assert list(score(model, [])) == list(score(model, [], context="document")) == []


def test_characters_are_scored_one_by_one() -> None:
    model = network(Vocabulary(["<eos>", "<unk>", " ", "a", "b"]), "characters")
    found = next(score(model, ["ab x"], given="b"))
    assert [token.token for token in found.tokens] == ["a", "b", " ", "x", "<eos>"]
    assert [token.oov for token in found.tokens] == [False, False, False, True, False]
    assert_same(nats([found]), [stepped(model, [*list("bab x"), "<eos>"])[0][1:]])


def test_byte_pairs_are_scored_and_none_is_unknown() -> None:
    pytest.importorskip("tokenizers")
    merges = (("\u0120", "a"), ("a", "b"))
    model = network(Vocabulary.count([], merges=merges), "bpe")
    found = next(score(model, ["ab a \u732b"]))
    assert [token.token for token in found.tokens][:2] == ["ab", "\u0120a"]
    assert not any(token.oov for token in found.tokens)
    assert "".join(token.token for token in found.tokens[:-1]) == "".join(
        tokenize("ab a \u732b", "bpe")
    )


# Words not known


def test_an_unknown_word_is_told_and_scored_as_unk(model: NetworkModel | NgramModel) -> None:
    found = list(score(model, ["zebra <unk> cat", "<unk> <unk> cat"]))
    assert [token.token for token in found[0].tokens] == ["zebra", "<unk>", "cat", "<eos>"]
    assert [token.oov for token in found[0].tokens] == [True, False, False, False]
    assert found[0].log_prob == pytest.approx(found[1].log_prob, abs=5e-6)
    assert not any(token.oov for token in found[1].tokens)


def test_with_an_open_vocabulary_it_is_spelled_out(model: NetworkModel | NgramModel) -> None:
    text = "zebra <unk> cat \u732b"
    closed = next(score(model, [text]))
    found = next(score(model, [text], open_vocabulary=True))
    spelling = Spelling.of(WORDS)
    for one, other in zip(closed.tokens, found.tokens, strict=True):
        more = spelling.log_prob(one.token) - spelling.log_outside if one.oov else 0.0
        assert other.log_prob == pytest.approx(one.log_prob + more, abs=1e-9)
        assert math.isfinite(other.log_prob)
    assert [token.oov for token in found.tokens] == [True, False, False, True, False]
    assert found.log_prob < closed.log_prob - 10
    document = next(score(model, [text], open_vocabulary=True, context="document"))
    assert_same(nats([document]), nats([found]))


def test_all_words_unknown_is_not_infinite() -> None:
    found = next(score(network(), ["xyzzy plugh \u0000 \U0001f600" * 50], open_vocabulary=True))
    assert math.isfinite(found.log_prob) and math.isfinite(found.perplexity)


# The same sentence always gets the same number


texts = st.lists(st.text("the cat\nzon.", max_size=30), min_size=1, max_size=8)


@settings(max_examples=15)
@given(texts, st.integers(1, 5), st.randoms())
def test_neighbours_do_not_matter(texts: list[str], window: int, random: Any) -> None:
    model = network()
    alone = [next(score(model, [text])) for text in texts]
    order = list(range(len(texts)))
    random.shuffle(order)
    found = list(score(model, [texts[n] for n in order], window=window))
    for n, each in zip(order, found, strict=True):
        assert each.text == alone[n].text
        assert_same(nats([each]), nats([alone[n]]))
        assert each.log_prob == pytest.approx(alone[n].log_prob, abs=1e-5)


def test_a_long_line_is_scored_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    expected = list(score(model, LINES, given="the"))
    monkeypatch.setattr(scoring, "LONG", 4)
    batches = []
    side_by_side = model.log_probs_of_lines
    monkeypatch.setattr(
        model, "log_probs_of_lines", lambda rows: batches.append(len(rows)) or side_by_side(rows)
    )
    assert_same(nats(score(model, LINES, given="the")), nats(expected))
    assert batches == [4]


# Streams


def test_lines_are_taken_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, taken = network(), []

    def endless() -> Iterator[str]:
        for n in itertools.count():
            taken.append(n)
            yield "the cat"

    found = score(model, endless(), window=10)
    assert taken == []
    assert [next(found).text for _ in range(10)] == ["the cat"] * 10
    assert len(taken) == 10
    next(found)
    assert len(taken) == 20
    monkeypatch.setattr(scoring, "WINDOW_CHARACTERS", 20)
    taken.clear()
    next(score(model, endless(), window=10))
    assert len(taken) == 3


@given(st.text("ab \n", max_size=60), st.integers(1, 9), st.lists(st.integers(0, 60)))
def test_lines_are_those_of_the_text_however_it_is_cut(
    text: str, longest: int, cuts: list[int]
) -> None:
    ends = [0, *sorted(cuts), len(text)]
    chunks = [text[start:end] for start, end in itertools.pairwise(ends)]
    found = list(lines(chunks, longest))
    assert found == list(lines([text], longest))
    assert all(len(line) <= longest and "\n" not in line for line in found)
    whole = list(lines(chunks, 10**6))
    assert whole == text.removesuffix("\n").split("\n") if text else whole == []
    assert "".join(found) == "".join(whole)
    if all(len(line) <= longest for line in whole):
        assert found == whole


def test_a_line_without_end_is_read_in_bounded_memory() -> None:
    longest = 0
    chunks = itertools.repeat("lorem ipsum " * 8000, 200)  # 19 million characters
    total = 0
    for line in lines(chunks):
        total += len(line)
        longest = max(longest, len(line))
        assert line.endswith(" ")
    assert total == 200 * 12 * 8000
    assert longest <= scoring.LONGEST_LINE


# Records


def test_a_record_is_as_documented() -> None:
    found = Score("a b", [TokenScore("a", -1.0, False), TokenScore("<eos>", -3.0, True)])
    assert json.loads(json.dumps(found.as_dict())) == {
        "text": "a b",
        "log_prob": -4.0,
        "perplexity": pytest.approx(math.exp(2)),
        "tokens": [
            {"token": "a", "log_prob": -1.0, "oov": False},
            {"token": "<eos>", "log_prob": -3.0, "oov": True},
        ],
    }


@pytest.mark.parametrize("log_prob", [-1e5, -math.inf])
def test_a_perplexity_that_overflows_is_infinite(log_prob: float) -> None:
    assert Score("a", [TokenScore("a", log_prob, False)]).perplexity == math.inf


@pytest.mark.parametrize(
    ("texts", "how", "said"),
    [
        ("the cat", {}, "texts is one string"),
        (["the cat"], {"context": "sentence"}, "got 'sentence'"),
        (["the cat"], {"window": 0}, "window is at least 1 line, got 0"),
    ],
)
def test_bad_arguments_are_named_at_once(texts: Any, how: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        score(network(), texts, **how)
