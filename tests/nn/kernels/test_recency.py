"""Decayed counts: the scan is the sum over all words before."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.nn.kernels.recency import recency, recency_plain


@settings(max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.floats(0.1, 1e7))
def test_the_scan_is_the_sum(words: list[int], half_life: float) -> None:
    read = torch.tensor(words)
    found = recency(read, half_life)
    torch.testing.assert_close(found, recency_plain(read, half_life), rtol=1e-9, atol=1e-12)
    assert found.dtype == torch.float64
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()


def test_a_word_that_never_stops_has_all_the_mass_and_one_that_is_new_none() -> None:
    same = recency(torch.zeros(5000, dtype=torch.int64), 3.0)
    torch.testing.assert_close(same, torch.ones(4999, dtype=torch.float64))
    assert not recency(torch.arange(50), 3.0).any()
    assert len(recency(torch.tensor([4]), 3.0)) == 0


def test_a_long_text_of_few_words_is_finite() -> None:
    words = torch.arange(30_000) % 2
    words[0] = 2  # its neighbour in order is 30,000 steps back: 0.5 ** -30,000 has no float
    found = recency(words, 10.0)
    assert bool(torch.isfinite(found).all())
    torch.testing.assert_close(found[-1], recency_plain(words[-200:], 10.0)[-1])
