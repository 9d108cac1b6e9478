"""N-best lists: word errors, putting them in order, learning the weights."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.errors import ConfigError, DataError
from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use import rescoring
from recurra.language.use.nbest import Hypothesis, NBest
from recurra.language.use.rescoring import learn, rescore, with_log_probs
from recurra.language.use.scoring import score
from recurra.search.edit_distance import edit_distances

WORDS = Vocabulary(["the", "<eos>", "cat", "hat", "sat", "<unk>"])


def network() -> NetworkModel:
    options = NetworkOptions(hidden_size=5, init_scale=1.0)
    made = LanguageNetwork(options, len(WORDS), torch.Generator().manual_seed(2))
    return NetworkModel(made, options, WORDS, "words")


# Totals


def test_hypotheses_are_scored_as_lines_alone() -> None:
    model = network()
    lists = [
        NBest("1", [Hypothesis("the cat sat", 1.0), Hypothesis("the\nhat", 2.0)], "the cat"),
        NBest("2", [Hypothesis("", 0.0), Hypothesis("zebra", 0.0)]),
    ]
    found = list(with_log_probs(model, iter(lists), given="the", open_vocabulary=True))
    texts = ["the cat sat", "the hat", "", "zebra"]
    expected = [each.log_prob for each in score(model, texts, given="the", open_vocabulary=True)]
    assert [*found[0].log_probs, *found[1].log_probs] == pytest.approx(expected, abs=1e-5)
    assert [(each.id, each.reference) for each in found] == [("1", "the cat"), ("2", None)]
    assert [each.hypotheses for each in found] == [each.hypotheses for each in lists]


def test_totals_by_hand_the_best_first() -> None:
    hypotheses = [Hypothesis("a b c", -4.0), Hypothesis("a", -3.0), Hypothesis("a b", -5.0)]
    nbest = NBest("x", hypotheses, log_probs=[-10.0, -14.0, -8.0])
    found = rescore(nbest, weight=0.5, word_penalty=1.0)
    assert [(each.text, each.total) for each in found] == [
        ("a b c", -4 - 5 + 3),
        ("a b", -5 - 4 + 2),
        ("a", -3 - 7 + 1),
    ]
    assert found[0] == ("x", "a b c", -4.0, -10.0, 3, -6.0)
    assert [each.text for each in rescore(nbest, weight=0, word_penalty=0)] == ["a", "a b c", "a b"]
    tied = NBest("x", [Hypothesis("b", 1.0), Hypothesis("a", 1.0)], log_probs=[0.0, 0.0])
    assert [each.text for each in rescore(tied)] == ["b", "a"]


@pytest.mark.parametrize("how", [{"weight": math.nan}, {"word_penalty": math.inf}], ids=str)
def test_weights_are_finite(how: Any) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(how))} is a finite number"):
        rescore(NBest("x", [Hypothesis("a", 1.0)], log_probs=[0.0]), **how)


def test_lists_without_what_is_needed_are_refused() -> None:
    bare = NBest("x", [Hypothesis("a", 1.0)])
    with pytest.raises(ConfigError, match="x: no log-probabilities"):
        rescore(bare)
    with pytest.raises(ConfigError, match="x: no log-probabilities"):
        learn([bare])
    with pytest.raises(DataError, match="list x has no reference"):
        learn([NBest("x", [Hypothesis("a", 1.0)], log_probs=[0.0])])
    with pytest.raises(DataError, match="no lists"):
        learn([])


# Learning


def development(seed: int, lists: int, hypotheses: int) -> list[NBest]:
    """Lists whose right hypotheses both scores point to, each with noise of its own."""
    draws = np.random.default_rng(seed)
    found = []
    for n in range(lists):
        reference = draws.choice(list("abcdefg"), 6).tolist()
        texts, scores, log_probs = [], [], []
        for _ in range(hypotheses):
            words = list(reference)
            for _ in range(draws.integers(0, 5)):
                if len(words) > 1 and draws.random() < 0.5:
                    words.pop(draws.integers(len(words)))
                else:
                    words.insert(draws.integers(len(words)), str(draws.choice(list("xyz"))))
            texts.append(" ".join(words))
            (errors,) = edit_distances([words], reference).tolist()
            scores.append(-2 * errors + draws.normal(0, 4))
            log_probs.append(-2 * errors - 2.5 * len(words) + draws.normal(0, 3))
        made = [Hypothesis(text, float(value)) for text, value in zip(texts, scores)]
        found.append(NBest(str(n), made, " ".join(reference), log_probs))
    return found


def errors_with(lists: list[NBest], weight: float, penalty: float) -> int:
    chosen = [rescore(each, weight, penalty)[0].text for each in lists]
    return sum(
        int(edit_distances([text.split()], (each.reference or "").split())[0])
        for text, each in zip(chosen, lists)
    )


@pytest.mark.parametrize("seed", range(2))
def test_nothing_on_a_fine_grid_is_better_than_what_is_learnt(seed: int) -> None:
    lists = development(seed, lists=12, hypotheses=8)
    learned = learn(iter(lists))
    assert errors_with(lists, learned.weight, learned.word_penalty) == learned.errors
    assert errors_with(lists, 0, 0) == learned.errors_before
    grid = itertools.product(np.linspace(0, 4, 11), np.linspace(-4, 12, 17))
    assert learned.errors <= min(errors_with(lists, *place) for place in grid)
    assert learned.errors_least <= learned.errors < learned.errors_before
    assert learned.weight > 0
    assert learned.words == 72
    assert learned.rate(learned.errors) == learned.errors / 72


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.booleans())
def test_a_line_search_finds_the_least_errors_on_the_line(seed: int, bounded: bool) -> None:
    """Brute force: every order of totals there is lies between two crossings of two lines."""
    draws = np.random.default_rng(seed)
    lists = [
        rescoring._Development(
            draws.integers(-3, 4, 5).astype(float),
            draws.integers(-3, 4, 5).astype(float),
            draws.integers(0, 3, 5).astype(float),
            draws.integers(0, 9, 5),
        )
        for _ in range(4)
    ]
    origin, direction = (0.5, -0.25), (1.0, 0.5) if bounded else (0.0, 1.0)
    crossings = {-0.5 if bounded else -1e3, 1e3}
    for each in lists:
        starts = each.scores + 0.5 * each.log_probs - 0.25 * each.words
        slopes = direction[0] * each.log_probs + direction[1] * each.words
        for a, b in itertools.combinations(range(5), 2):
            if slopes[a] != slopes[b]:
                crossings.add(float((starts[a] - starts[b]) / (slopes[b] - slopes[a])))
    ends = sorted(place for place in crossings if not bounded or place >= -0.5)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(ends)]

    def errors(place: float) -> int:
        weight, penalty = 0.5 + place * direction[0], -0.25 + place * direction[1]
        return rescoring._errors(lists, weight, penalty)

    found, place = rescoring._searched(lists, origin, direction)
    assert found == errors(place)
    assert found == min(map(errors, middles))
    assert not bounded or 0.5 + place >= 0


def test_where_nothing_helps_the_first_pass_stands() -> None:
    right = NBest("x", [Hypothesis("a", 1.0), Hypothesis("b", 0.0)], "a", [-9.0, -1.0])
    learned = learn([right])
    assert (learned.weight, learned.word_penalty, learned.errors) == (0, 0, 0)
    single = learn([NBest("x", [Hypothesis("b c", 1.0)], "a", [-9.0])])
    assert (single.weight, single.errors, single.errors_least) == (0, 2, 2)
    empty = learn([NBest("x", [Hypothesis("", 1.0)], "", [-9.0])])
    assert empty.words == 0 and math.isnan(empty.rate(0))


def test_a_weight_is_never_negative() -> None:
    wrong = NBest("x", [Hypothesis("b", 1.0), Hypothesis("a", 0.0)], "a", [-1.0, -9.0])
    assert learn([wrong]).weight >= 0
