"""Temperature: the distribution it gives, and the one that a text asks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.language.models import temperature as module
from recurra.language.models.base import LanguageModel, Saved
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.models.temperature import TemperatureModel, calibrated
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.ngram import KneserNey

WORDS = Vocabulary(["the", "<eos>", "cat", "sat", "on", "<unk>", "a", "mat"])
V, EOS = len(WORDS), WORDS.eos


def text(length: int, seed: int = 0) -> NDArray[np.int32]:
    weights = [0.3, 0.2, 0.2, 0.1, 0.1, 0.04, 0.04, 0.02]
    return np.random.default_rng(seed).choice(V, length, p=weights).astype(np.int32)


def ngram(order: int = 2) -> NgramModel:
    return NgramModel(KneserNey.fit(text(80, seed=1), order, V, EOS), WORDS, "split")


def network() -> NetworkModel:
    options = NetworkOptions(hidden_size=6, init_scale=0.7, zero_bias=False)
    made = LanguageNetwork(options, V, torch.Generator().manual_seed(3))
    return NetworkModel(made, options, WORDS, "split")


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_it_is_the_power_made_to_sum_to_one(temperature: float) -> None:
    plain, model = ngram(), TemperatureModel(ngram(), temperature)
    p = plain.step(EOS, plain.initial_state())[0].exp().numpy()
    found = model.step(EOS, model.initial_state())[0].exp().numpy()
    expected = p ** (1 / temperature)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("make", [ngram, network])
@pytest.mark.parametrize("held", [1, 3 * V, 2**22])
def test_however_much_is_held_at_once_the_numbers_are_the_same(
    monkeypatch: pytest.MonkeyPatch, make: Any, held: int
) -> None:
    model, ids = TemperatureModel(make(), 1.7), text(40)
    expected = model.log_probs_of(ids)
    monkeypatch.setattr(module, "HELD", held)
    np.testing.assert_allclose(model.log_probs_of(ids), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [ngram, network])
def test_the_calibrated_temperature_is_the_best_of_its_text(make: Any) -> None:
    model, ids = make(), text(300, seed=2)

    def nats(log_temperature: float) -> float:
        return float(-TemperatureModel(model, math.exp(log_temperature)).log_probs_of(ids).mean())

    best = optimize.minimize_scalar(nats, bounds=(-3, 3), method="bounded")
    found = calibrated(model, ids)
    assert found.temperature == pytest.approx(math.exp(best.x), rel=1e-3)
    assert -found.log_probs_of(ids).mean() <= best.fun + 1e-9
    assert found.inner == (model,)


def test_a_model_that_is_of_no_use_is_softened_to_the_bound() -> None:
    counted = NgramModel(KneserNey.fit([0, 0, 0, 1] * 50, 1, V, EOS), WORDS, "split")
    found = calibrated(counted, np.full(50, 7, np.int32))
    assert found.temperature == pytest.approx(20, rel=1e-3)


def test_what_is_wrong_is_refused() -> None:
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="above 0"):
            TemperatureModel(ngram(), temperature)
    with pytest.raises(DataError, match="no tokens"):
        calibrated(ngram(), text(3)[:0])


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        ({}, 1),
        ({"temperature": 1}, 1),
        ({"temperature": 0.0}, 1),
        ({"temperature": math.inf}, 1),
        ({"temperature": "1"}, 1),
        ({"temperature": 1.0, "more": 1}, 1),
        ({"temperature": 1.0}, 0),
        ({"temperature": 1.0}, 2),
    ],
)
def test_a_damaged_one_is_refused(facts: dict[str, Any], parts: int) -> None:
    inner: tuple[LanguageModel, ...] = (ngram(),) * parts
    with pytest.raises(CheckpointError):
        TemperatureModel.restore(Saved(WORDS, "split", facts, {}, inner))
    with pytest.raises(CheckpointError):
        given = {"weights": torch.ones(1)}
        TemperatureModel.restore(Saved(WORDS, "split", {"temperature": 1.0}, given, (ngram(),)))


def test_no_temperature_is_found_for_what_is_not_a_number() -> None:
    sick = network()
    with torch.no_grad():
        next(sick.network.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="the model is not finite on the text"):
        calibrated(sick, text(40))
