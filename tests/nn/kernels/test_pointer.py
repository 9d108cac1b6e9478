"""Pointing at what followed: all rows at once are the rows one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.nn.kernels.pointer import pointer, pointer_plain


@settings(max_examples=40)
@given(
    st.integers(1, 7), st.integers(0, 6), st.integers(1, 9), st.floats(0, 3), st.integers(0, 999)
)
def test_rows_at_once_are_the_rows_alone(
    rows: int, past: int, window: int, theta: float, seed: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    keys = torch.randn(past + rows, 3, generator=draws, dtype=torch.float64)
    match = torch.rand(rows, past + rows, generator=draws) < 0.4
    expected = pointer_plain(keys[past:], keys, match, theta, window)
    found = pointer(keys[past:] @ keys.T, match, theta, window)
    torch.testing.assert_close(found, expected)
    if past == 0:
        assert found[0] == 0
    everything = pointer(keys[past:] @ keys.T, torch.ones_like(match), theta, window)
    torch.testing.assert_close(everything[1:], torch.ones(rows - 1, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scores_of_any_size_give_shares(scale: float) -> None:
    scores = torch.tensor([[1.0, 2.0, 0.0, 9.0]]) * scale
    shares = [
        float(pointer(scores, torch.arange(4).unsqueeze(0) == key, 1.0, 3)) for key in range(4)
    ]
    expected = [1 / 3, 1 / 3, 1 / 3, 0] if scale < 1 else [0, 1, 0, 0]
    assert shares == pytest.approx(expected, abs=1e-6)
