from __future__ import annotations

import math
from collections import Counter
from itertools import chain, islice

import pytest

from recurra.language.options import TextOptions
from recurra.language.text.corpora.grammar import LENGTHS, START, Grammar, GrammarCorpus
from recurra.language.text.dataset import TextDataset
from recurra.language.text.tokenization import EOS


@pytest.fixture(scope="module")
def grammar():
    return Grammar()


@pytest.fixture(scope="module")
def text(grammar):
    return list(islice(grammar.sentences("measured"), 40_000))


def test_every_state_is_a_distribution_over_different_words(grammar):
    for arcs in grammar.arcs.values():
        assert math.fsum(arc.probability for arc in arcs.values()) == pytest.approx(1)
        assert all(arc.state in grammar.arcs for arc in arcs.values())
    assert len({word for arcs in grammar.arcs.values() for word in arcs}) == 140


def test_entropy_by_weighing_every_path(grammar):
    """The closed form against powers of the transition matrix, as a plain sum over lengths."""
    mass, nats, tokens = Counter({START: 1.0}), 0.0, 0.0
    for _ in range(600):
        after: Counter[tuple[str, ...]] = Counter()
        for state, weight in mass.items():
            for arc in grammar.arcs[state].values():
                nats -= weight * arc.probability * math.log(arc.probability)
                tokens += weight * arc.probability
                if arc.state != START:
                    after[arc.state] += weight * arc.probability
        mass = after
    assert mass.total() < 1e-12
    assert grammar.true_nats_per_token() == pytest.approx(nats / tokens, rel=1e-12)


def test_text_costs_what_the_entropy_says(grammar, text):
    costs = [-grammar.log_prob(sentence) for sentence in text]
    tokens = sum(map(len, text))
    assert sum(costs) / tokens == pytest.approx(grammar.true_nats_per_token(), rel=0.005)


def test_log_prob_is_a_sum_over_sentences(grammar, text):
    whole = grammar.log_prob(chain.from_iterable(text[:50]))
    assert whole == pytest.approx(sum(map(grammar.log_prob, text[:50])))


def test_log_prob_by_hand(grammar):
    start = grammar.arcs[START]
    assert start["this"].probability == start["these"].probability == 0.5
    assert grammar.log_prob(["this"]) == pytest.approx(math.log(0.5))
    assert grammar.log_prob([]) == 0


@pytest.mark.parametrize(
    "sentence",
    ["this cats", "these cats sleeps", "this cat sail", "this cat bird", "cat", "this cat swims ."],
)
def test_what_the_grammar_does_not_allow(grammar, sentence):
    assert grammar.log_prob(sentence.split()) == -math.inf


def test_agreement_over_any_distance(grammar):
    phrases = "near these ships " * 50
    assert grammar.log_prob(f"this cat {phrases} swims {EOS}".split()) > -math.inf
    assert grammar.log_prob(f"this cat {phrases} swim {EOS}".split()) == -math.inf
    assert grammar.log_prob(f"this cat {phrases} sails {EOS}".split()) == -math.inf


def test_words_follow_their_probabilities(grammar, text):
    verbs = Counter(sentence[-2] for sentence in text if len(sentence) == 4)
    arcs = grammar.arcs["after", "singular", "animal"]
    chances = {verb: arcs[verb].probability for verb in ("hunts", "sleeps", "follows", "swims")}
    counted = sum(verbs[verb] for verb in chances)
    for verb, chance in chances.items():
        expected = chance / sum(chances.values())
        assert verbs[verb] / counted == pytest.approx(expected, abs=4 * counted**-0.5)


def test_streams_and_seeds():
    def first(seed, stream):
        return list(islice(Grammar(seed).sentences(stream), 5))

    assert first(1, "train") == first(1, "train")
    assert first(1, "train") != first(1, "valid")
    assert first(1, "train") != first(2, "train")
    assert Grammar(1).true_nats_per_token() != Grammar(2).true_nats_per_token()


def test_text_never_changes():
    """Golden: the seeded text is part of what results are compared by."""
    corpus = GrammarCorpus(TextOptions(corpus="grammar"))
    assert list(islice(corpus.chunks("train"), 2)) == [
        "these bakers above these roots greet these old old bakers\n",
        "this planet above these engines beside this grey dog near these quiet barges above "
        "these waves above this planet spins\n",
    ]
    assert corpus.grammar.true_nats_per_token() == pytest.approx(1.9726029903835707)


def test_corpus_is_the_grammars_text():
    data = TextDataset.open(TextOptions(corpus="grammar"))
    grammar = Grammar()
    assert len(data.vocabulary) == 141  # with <unk>
    for split, length in LENGTHS.items():
        assert length <= len(data.ids(split)) < length + 100
        assert data.facts(split).oov == 0
        tokens = data.vocabulary.decode(data.ids(split))
        assert tokens[-1] == EOS
        nats = -grammar.log_prob(tokens) / len(tokens)
        assert nats == pytest.approx(grammar.true_nats_per_token(), rel=0.02)
