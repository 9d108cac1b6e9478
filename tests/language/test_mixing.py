"""The choosing of a mixture: what is computed once, what validation decides, what is told."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurra.errors import ConfigError, RunError
from recurra.language.mixing import (
    SETTINGS,
    Part,
    Scores,
    chosen_cache,
    components,
    learn_mixture,
    ngram_parts,
)
from recurra.language.models.base import LanguageModel
from recurra.language.models.cache import cache
from recurra.language.models.dynamic import DynamicModel
from recurra.language.models.mixture import by_previous, fit_weights, mixed, mixture
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.models.unigram_cache import unigram_cache
from recurra.language.network import LanguageNetwork
from recurra.language.options import MixtureOptions, NetworkOptions
from recurra.language.text.dataset import SplitFacts, TextDataset
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey
from recurra.randomness import generator

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat"])
SMALL = NetworkOptions(hidden_size=6, num_layers=1, precision="float32")
Floats = NDArray[np.float64]


def text(length: int, seed: int) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(0, len(WORDS), length, dtype=np.int32)


def dataset(*splits: str) -> TextDataset:
    ids = {split: text(120, seed) for seed, split in enumerate(splits)}
    facts = {split: SplitFacts(tokens=120, oov=0, characters=500, replaced=0) for split in splits}
    return TextDataset(WORDS, "split", "mine", ids, facts)


def network(seed: int = 1) -> NetworkModel:
    made = LanguageNetwork(SMALL, len(WORDS), generator(seed, "init"))
    return NetworkModel(made, SMALL, WORDS, "split")


def ngram(order: int) -> NgramModel:
    counts = KneserNey.fit(text(300, order), order, len(WORDS), WORDS.eos)
    return NgramModel(counts, WORDS, "split")


def perplexity(log_probs: Floats) -> float:
    return math.exp(-log_probs.mean())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, bytes]]:
    """How often each kind of model has read each text, whatever for."""
    counts: Counter[tuple[str, bytes]] = Counter()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(lm: LanguageModel, ids: NDArray[np.int32], *rest: Any) -> Any:
            counts[lm.kind, ids.tobytes()] += 1
            return function(lm, ids, *rest)

        return call

    monkeypatch.setattr(NgramModel, "log_probs_of", counted(NgramModel.log_probs_of))
    for kind in (NetworkModel, DynamicModel):
        monkeypatch.setattr(kind, "spans", counted(kind.spans))
    return counts


def everything(scores: Scores) -> dict[str, Part]:
    options = MixtureOptions(cache=True, dynamic=True, order=2, unigram_cache=True)
    return components({"network": network()}, options, ngram_parts(ngram(2)), scores)


# Computed once


def test_each_model_reads_each_split_once(reads: Counter[tuple[str, bytes]]) -> None:
    """Though the network, its dynamic evaluation and the n-grams each stand in two parts."""
    scores = Scores(dataset("train", "valid", "test"))
    learn_mixture(everything(scores), scores, buckets="previous")
    splits = [scores.dataset.ids(split).tobytes() for split in ("valid", "test")]
    kinds = ("network", "dynamic", "ngram")
    assert reads == {(kind, split): 1 for kind in kinds for split in splits}


def test_scores_are_those_of_the_model_itself() -> None:
    scores = Scores(dataset("train", "valid"))
    lm = network()
    nested = mixture([cache(lm, weight=0.3), unigram_cache(ngram(2)), lm], [0.5, 0.2, 0.3])
    for model in (lm, cache(lm), unigram_cache(lm), nested):
        np.testing.assert_allclose(
            scores.of(model, "valid"),
            model.log_probs_of(scores.dataset.ids("valid")),
            rtol=0,
            atol=1e-6,
        )


def test_a_split_that_is_not_there_has_no_metrics() -> None:
    scores = Scores(dataset("train", "valid"))
    assert scores.metrics(ngram(1), "test") is None
    known = scores.metrics(ngram(1), "valid")
    assert known is not None
    assert known["perplexity"] == pytest.approx(perplexity(scores.of(ngram(1), "valid")))


# What validation decides


def test_the_cache_is_the_best_of_all_settings_on_validation() -> None:
    scores = Scores(dataset("train", "valid", "test"))
    lm = network()
    part = chosen_cache(lm, scores)
    ids = scores.dataset.ids("valid")
    own = lm.log_probs_of(ids)
    tried = {}
    for theta, window in SETTINGS:
        alone = cache(lm, weight=1.0, theta=theta, window=window).log_probs_of(ids)
        pair = fit_weights([own, alone])
        tried[theta, window] = perplexity(mixed([own, alone], pair))
    assert perplexity(scores.of(part.alone, "valid")) == pytest.approx(min(tried.values()))
    assert part.model.options.weight == 1.0
    assert tried[part.alone.options.theta, part.alone.options.window] == min(tried.values())


def test_the_parts_are_what_the_options_ask_for() -> None:
    scores = Scores(dataset("train", "valid"))
    assert list(everything(scores)) == [
        "network",
        "network_cache",
        "network_dynamic",
        "network_dynamic_cache",
        "kn2",
        "kn2_cache",
    ]
    plain = MixtureOptions(order=2, unigram_cache=True)
    assert list(components({"mine": network()}, plain, {}, scores)) == [
        "mine",
        "mine_unigram_cache",
    ]


@pytest.mark.parametrize("buckets", ["none", "previous"])
def test_the_report_holds_what_each_part_is_worth(buckets: str) -> None:
    scores = Scores(dataset("train", "valid", "test"))
    models = {"one": ngram(1), "two": ngram(2), "net": network()}
    parts = {name: Part(model, model) for name, model in models.items()}
    found = learn_mixture(parts, scores, buckets)
    table = by_previous(len(WORDS)) if buckets == "previous" else np.zeros(len(WORDS), int)
    rows, of = {}, {}
    for split in ("valid", "test"):
        ids = scores.dataset.ids(split)
        rows[split] = np.stack([model.log_probs_of(ids) for model in models.values()])
        of[split] = table[np.concatenate([[WORDS.eos], ids[:-1]])]
    count = int(table.max()) + 1
    weights = fit_weights(rows["valid"], of["valid"], count)
    for split in ("valid", "test"):
        expected = perplexity(mixed(rows[split], weights, of[split]))
        assert found.report[split]["perplexity"] == pytest.approx(expected, rel=1e-5)
    rest = fit_weights(rows["valid"][1:], of["valid"], count)
    entry = found.report["parts"]["one"]
    assert entry["without"] == pytest.approx(
        perplexity(mixed(rows["test"][1:], rest, of["test"])), rel=1e-5
    )
    assert entry["weight"] == pytest.approx(weights[of["valid"], 0].mean(), rel=1e-4)
    assert entry["test_perplexity"] == pytest.approx(perplexity(rows["test"][0]))
    assert sum(each["weight"] for each in found.report["parts"].values()) == pytest.approx(1)


def test_a_mixture_of_one_has_no_others() -> None:
    scores = Scores(dataset("train", "valid"))
    alone = ngram(2)
    found = learn_mixture({"kn2": Part(alone, alone)}, scores)
    assert found.report["parts"]["kn2"]["without"] is None
    assert found.report["test"] is None


# What is refused


def test_a_cache_without_a_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="need a network; none of these is one"):
        components({"kn": ngram(2)}, MixtureOptions(cache=True), {}, Scores(dataset("train")))


def test_weights_without_validation_are_refused() -> None:
    scores = Scores(dataset("train"))
    with pytest.raises(ConfigError, match="learned on validation; the text has no such split"):
        learn_mixture({"kn": Part(ngram(1), ngram(1))}, scores)


# Parts that are no probability


class Broken(NgramModel):
    """N-grams that say what they are told to of one token."""

    value = math.nan

    def log_probs_of(self, ids):
        found = super().log_probs_of(ids)
        found[7] = self.value
        return found


def broken(value: float) -> Broken:
    counts = KneserNey.fit(text(300, 2), 2, len(WORDS), WORDS.eos)
    model = Broken(counts, WORDS, "split")
    model.value = value
    return model


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 8.3])
@pytest.mark.parametrize("buckets", ["none", "previous"])
def test_a_mixture_with_one_part_that_is_nan_on_validation(value: float, buckets: str) -> None:
    data = dataset("train", "valid", "test")
    good = {"kn2": Part(ngram(2), ngram(2)), "kn1": Part(ngram(1), ngram(1))}
    odd = broken(value)
    without = learn_mixture(good, Scores(data), buckets)
    if value == -math.inf:  # it is sure of what comes, and wrong: a probability, of no use alone
        found = learn_mixture({"odd": Part(odd, odd), **good}, Scores(data), buckets)
        assert found.left_out["odd"].startswith("diverged: perplexity infinite on validation")
        return
    found = learn_mixture({"odd": Part(odd, odd), **good}, Scores(data), buckets)
    assert found.left_out == {"odd": f"gives token 8 of validation a log-probability of {value:g}"}
    assert found.report == without.report
    assert list(found.report["parts"]) == ["kn2", "kn1"]
    assert found.model.weights.tolist() == without.model.weights.tolist()


def test_a_part_that_has_diverged_is_said_and_left_out() -> None:
    data = dataset("train", "valid", "test")
    wild = network()
    with torch.no_grad():
        for parameter in wild.network.parameters():
            parameter.mul_(1000.0)
    parts = {"network": Part(wild, wild), "kn2": Part(ngram(2), ngram(2))}
    found = learn_mixture(parts, Scores(data))
    assert re.fullmatch(
        r"diverged: perplexity \S+ on validation, of 8 tokens", found.left_out["network"]
    )
    assert list(found.report["parts"]) == ["kn2"]


def test_where_every_part_is_bad_it_fails_in_one_line() -> None:
    one, other = broken(math.nan), broken(math.nan)
    parts = {"one": Part(one, one), "other": Part(other, other)}
    with pytest.raises(
        RunError, match=r"nothing is left to mix: one gives token 8 .*; other gives"
    ):
        learn_mixture(parts, Scores(dataset("train", "valid")))


def test_what_is_made_of_a_network_that_is_nan_is_left_out_by_name() -> None:
    sick = network()
    with torch.no_grad():
        next(sick.network.parameters()).fill_(math.nan)
    options, out = MixtureOptions(cache=True, dynamic=True), dict[str, str]()
    scores = Scores(dataset("train", "valid", "test"))
    parts = components({"network": sick}, options, ngram_parts(ngram(2)), scores, out)
    assert list(parts) == ["network", "kn2"]
    assert out["network_cache"].startswith("failed with DataError: part 0 gives token 1 ")
    assert "gradient statistics are finite" in out["network_dynamic"]
    found = learn_mixture(parts, scores)
    assert list(found.report["parts"]) == ["kn2"] and list(found.left_out) == ["network"]


def test_what_there_is_no_time_for_is_not_made(reads: Counter[tuple[str, bytes]]) -> None:
    out = {"network_dynamic": "would take 300 s, 45 s were left"}
    options = MixtureOptions(cache=True, dynamic=True)
    scores = Scores(dataset("train", "valid", "test"), without=["test"])
    parts = components({"network": network()}, options, {}, scores, out)
    assert list(parts) == ["network", "network_cache"]
    assert not any(kind == "dynamic" for kind, _ in reads)
    report = learn_mixture(parts, scores).report
    assert report["test"] is None and report["valid"]["perplexity"] > 1
