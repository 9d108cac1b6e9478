"""What the next id is drawn from, and the draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recurra.search.truncation import draw, keep_min_p, keep_top_k, keep_top_p, tempered

distributions = st.lists(st.integers(1, 1000), min_size=1, max_size=30).map(
    lambda counts: torch.tensor(counts, dtype=torch.float64).div(sum(counts)).log()
)


def probabilities(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


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


# The temperature


@given(distributions, st.floats(0.05, 20))
def test_a_temperature_takes_a_root_and_renormalises(log_probs: Tensor, heat: float) -> None:
    found = tempered(log_probs, heat)
    expected = np.exp((log_probs - log_probs.max()).numpy() / heat)
    np.testing.assert_allclose(found.exp().numpy(), expected / expected.sum(), rtol=1e-12)


@given(distributions)
def test_without_heat_only_the_first_of_the_likeliest_is_left(log_probs: Tensor) -> None:
    found = tempered(log_probs, 0)
    assert kept(found) == [int(log_probs.numpy().argmax())]
    assert float(found.max()) == 0


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
