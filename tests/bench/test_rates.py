"""The learning rates that are tried."""

from __future__ import annotations

import pytest

from recurra.bench.rates import LADDER, RATES, neighbours, outward


@pytest.mark.parametrize(
    ("tried", "best", "next_ones"),
    [
        (RATES, 0.003, []),
        (RATES, 0.01, [0.03]),
        (RATES, 0.001, [3e-4]),
        ((0.001, 0.003, 0.01, 0.03), 0.03, [0.1]),
        ((0.01,), 0.01, [0.003, 0.03]),
        ((0.02,), 0.02, [0.00632, 0.0632]),
        ((0.001, 0.003), 0.003, [0.01]),
        ((0.001, 0.01), 0.01, [0.1]),  # neighbours of no ladder: by their ratio
        ((0.002, 0.004, 0.008), 0.008, [0.016]),
        ((0.002, 0.004, 0.016), 0.016, [0.064]),
        ((0.002, 0.004, 0.016), 0.002, [0.001]),
        ((0.3, 1.0), 1.0, []),
        ((1e-5, 3e-5), 1e-5, []),
        ((0.5, 0.9), 0.9, []),  # 1.62 is beyond the ladder
        ((5.0,), 5.0, []),
        ((1.0,), 1.0, [0.3]),
    ],
)
def test_the_next_rates_are_those_beyond_an_end(tried, best, next_ones):
    assert outward(tried, best) == next_ones


def test_it_ends_however_the_losses_fall():
    for sign in (-1, 1):
        tried = RATES
        for _ in range(20):
            best = max(tried) if sign > 0 else min(tried)
            tried = tuple(sorted([*tried, *outward(tried, best)]))
        assert set(tried) < set(LADDER) and best in (LADDER[0], LADDER[-1])


def test_rates_beside_one():
    assert neighbours((1, 2, 3), 2) == [1, 3]
    assert neighbours((1, 2, 3), 1) == [2] and neighbours((1, 2, 3), 3) == [2]
    assert neighbours((1,), 1) == []
