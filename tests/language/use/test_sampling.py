"""What the next token is drawn from, and the draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ConfigError
from recurra.language.models.network import NetworkModel
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary
from recurra.language.use.sampling import (
    Decoding,
    Rows,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    require_count,
)

UNK = 2
WORDS = Vocabulary(["a", "<eos>", "<unk>", "b", "c"])

distributions = st.lists(st.integers(1, 1000), min_size=1, max_size=30).map(
    lambda counts: torch.tensor(counts, dtype=torch.float64).div(sum(counts)).log()
)


def probabilities(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def model() -> NetworkModel:
    options = NetworkOptions(hidden_size=5, init_scale=1.0)
    network = LanguageNetwork(options, len(WORDS), torch.Generator().manual_seed(2))
    return NetworkModel(network, options, WORDS, "split")


def kept(filtered: Tensor) -> list[int]:
    return filtered.isfinite().nonzero().flatten().tolist()


# Filters against what the papers say in words, in plain Python


@given(distributions, st.integers(1, 35))
def test_top_k_keeps_the_likeliest_and_renormalises(log_probs: Tensor, k: int) -> None:
    found = keep_top_k(log_probs, k)
    least = sorted(log_probs.tolist(), reverse=True)[:k][-1]
    expected = [n for n, value in enumerate(log_probs.tolist()) if value >= least]
    assert kept(found) == expected
    total = math.fsum(math.exp(log_probs[n]) for n in expected)
    for n in expected:
        assert float(found[n].exp()) == pytest.approx(math.exp(log_probs[n]) / total, rel=1e-12)


@given(distributions, st.floats(0.01, 0.999))
def test_top_p_keeps_the_smallest_nucleus(log_probs: Tensor, p: float) -> None:
    found = keep_top_p(log_probs, p)
    order = sorted(range(len(log_probs)), key=lambda n: (-float(log_probs[n]), n))
    nucleus: list[int] = []
    total = 0.0
    for n in order:
        if total >= p - 1e-12:
            break
        nucleus.append(n)
        total += math.exp(log_probs[n])
    assert kept(found) in (sorted(nucleus), sorted(order[: len(nucleus) + 1]))  # at p but rounding
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-12)


@given(distributions, st.floats(0, 1))
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(
    log_probs: Tensor, p: float
) -> None:
    found = keep_min_p(log_probs, p)
    values = log_probs.exp().tolist()
    sure = [n for n, value in enumerate(values) if value > p * max(values) * (1 + 1e-12)]
    maybe = [n for n, value in enumerate(values) if value >= p * max(values) * (1 - 1e-12)]
    assert set(sure) <= set(kept(found)) <= set(maybe)
    assert int(log_probs.argmax()) in kept(found)
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_filters_by_hand() -> None:
    log_probs = probabilities(0.4, 0.3, 0.2, 0.1)
    assert kept(keep_top_k(log_probs, 2)) == [0, 1]
    assert kept(keep_top_p(log_probs, 0.69)) == [0, 1]
    assert kept(keep_top_p(log_probs, 0.71)) == [0, 1, 2]
    assert kept(keep_top_p(log_probs, 1e-9)) == [0]
    assert torch.equal(keep_top_p(log_probs, 1), log_probs)
    assert kept(keep_min_p(log_probs, 0.5)) == [0, 1, 2]
    assert kept(keep_min_p(log_probs, 0.51)) == [0, 1]
    tied = probabilities(0.25, 0.25, 0.25, 0.25)
    assert kept(keep_top_k(tied, 1)) == [0, 1, 2, 3]
    assert kept(keep_top_p(tied, 0.5)) == [0, 1]


def test_filters_act_on_each_row_alone() -> None:
    rows = torch.randn(6, 9, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    for keep, value in ((keep_top_k, 3), (keep_top_p, 0.6), (keep_min_p, 0.3)):
        alone = torch.stack([keep(row, value) for row in rows])
        assert torch.equal(keep(rows, value), alone)


# All of them together


def test_the_temperature_comes_first_and_unk_is_out() -> None:
    log_probs = probabilities(0.4, 0.1, 0.3, 0.15, 0.05)
    cold = Decoding(temperature=0.5).choices(log_probs, UNK).exp()
    squares = np.array([0.4**2, 0.1**2, 0, 0.15**2, 0.05**2])
    np.testing.assert_allclose(cold.numpy(), squares / squares.sum(), rtol=1e-12)
    # by squares the likeliest has .82 of all; by the distribution itself .57
    assert kept(Decoding(temperature=0.5, top_p=0.8).choices(log_probs, UNK)) == [0]
    assert kept(Decoding(top_p=0.8).choices(log_probs, UNK)) == [0, 1, 3]
    assert kept(Decoding(allow_unk=True, top_k=2).choices(log_probs, UNK)) == [0, UNK]
    both = Decoding(top_k=3, min_p=0.3).choices(log_probs, UNK)
    assert kept(both) == [0, 3]


def test_without_heat_the_first_of_the_likeliest_is_certain() -> None:
    for decoding in (Decoding(temperature=0), Decoding(temperature=0, top_k=3, top_p=0.5)):
        found = decoding.choices(probabilities(0.1, 0.3, 0.3, 0.3), UNK)
        assert found.exp().tolist() == [0, 1, 0, 0]
    tiny = Decoding(temperature=1e-300).choices(probabilities(0.1, 0.5, 0.1, 0.3), UNK)
    assert tiny.exp().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": 0}, "top_k is a whole number from 1, got 0"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 2.0}, "min_p"),
        ({"beam": 0}, "beam"),
        ({"beam": 2, "length_power": -1.0}, "length_power"),
        ({"stop": ["x", ""]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"beam": 3, "top_k": 4}, "top_k is of no use, as a beam draws nothing"),
        ({"beam": 3, "temperature": 0.0}, "temperature is of no use"),
        ({"length_power": 0.5}, "length_power is of no use, as there is no beam"),
    ],
    ids=str,
)
def test_values_out_of_range_are_named(how: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Decoding(**how)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 0.5, math.nan, math.inf])
def test_counts_are_whole_numbers(value: float) -> None:
    with pytest.raises(ConfigError, match="tokens is a whole number from 0, got"):
        require_count("tokens", value, 0)
    require_count("tokens", 2, 2)


# The draw


def test_draws_follow_the_distribution() -> None:
    log_probs = probabilities(0.5, 0.0, 0.3, 0.2, 0.0)
    stream = torch.Generator().manual_seed(1)
    many = 20_000
    found = np.bincount(draw(log_probs.expand(many, -1), [stream] * many), minlength=5) / many
    assert found[1] == found[4] == 0
    assert np.abs(found - log_probs.exp().numpy()).max() < 4 * 0.5 / math.sqrt(many)


def test_a_draw_is_the_inverse_of_the_cumulative_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_probs = probabilities(0.0, 0.25, 0.0, 0.5, 0.25, 0.0)
    for uniform, expected in ((0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1.0, 4)):
        value = torch.tensor([uniform], dtype=torch.float64)
        monkeypatch.setattr(torch, "rand", lambda *_, value=value, **__: value)
        assert draw(log_probs.unsqueeze(0), [torch.Generator()]) == [expected]


def test_rows_draw_from_streams_of_their_own() -> None:
    log_probs = torch.zeros(1, 1000).log_softmax(-1)
    seeds = [3, 1, 2]
    alone = [draw(log_probs, [torch.Generator().manual_seed(seed)])[0] for seed in seeds]
    together = [torch.Generator().manual_seed(seed) for seed in seeds]
    assert draw(log_probs.expand(3, -1), together) == alone
    assert len(set(alone)) == 3


# Texts side by side


@pytest.mark.parametrize(("limit", "most"), [(None, 4), (1, 4), (3, 4), (None, 1)])
def test_rows_are_what_steps_alone_give(limit: int | None, most: int) -> None:
    language_model = model()
    language_model.most_rows = limit
    rows = Rows(language_model, ["a", "zebra"], most)
    histories = [[1, 0, UNK]]
    for taken, read in (([0] * most, [3, 0, 4, 1]), ([most - 1, 0], [4, 4]), ([1], [0])):
        rows.take(taken)
        rows.step(read[: len(taken)])
        histories = [[*histories[row], token] for row, token in zip(taken, read)]
    for history, log_probs in zip(histories, rows.log_probs, strict=True):
        state = language_model.initial_state()
        for token in history:
            expected, state = language_model.step(token, state)
        torch.testing.assert_close(log_probs, expected.double(), rtol=0, atol=1e-5)
