"""A step in place, by blocks, is the step written out."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from recurra.nn.kernels import descent
from recurra.nn.kernels.descent import Gradient, Rate, descend, descend_plain


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


PARTS = [*product([False, True], repeat=3)]


@pytest.mark.parametrize("each", [False, True], ids=["one rate", "a rate for each"])
@pytest.mark.parametrize("block", [1, 12, 10**6])
@pytest.mark.parametrize(("dense", "product_", "rows"), PARTS)
def test_blocks_in_place_are_the_whole_written_out(
    monkeypatch: pytest.MonkeyPatch,
    each: bool,
    block: int,
    dense: bool,
    product_: bool,
    rows: bool,
) -> None:
    monkeypatch.setattr(descent, "BLOCK", block)
    R, C, n = 11, 4, 3
    gradient = Gradient(
        dense=normal(R, C, seed=1) if dense else None,
        left=normal(R, n, seed=2) if product_ else None,
        right=normal(n, C, seed=3) if product_ else None,
        rows=torch.tensor([2, 9, 2, 0]) if rows else None,
        values=normal(4, C, seed=4) if rows else None,
    )
    rate = (
        Rate(normal(R, C, seed=5).abs(), normal(R, C, seed=6).sigmoid()) if each else Rate(0.3, 0.1)
    )
    weight, trained = normal(R, C, seed=7), normal(R, C, seed=8)
    held = trained.clone()
    expected = descend_plain(weight, trained, gradient, rate)
    descend(weight, trained, gradient, rate)
    torch.testing.assert_close(weight, expected)
    assert torch.equal(trained, held)


def test_vectors_are_weights_too() -> None:
    weight, trained = normal(7, seed=1), normal(7, seed=2)
    gradient, rate = Gradient(normal(7, seed=3)), Rate(normal(7, seed=4), 0.5)
    expected = descend_plain(weight, trained, gradient, rate)
    descend(weight, trained, gradient, rate)
    torch.testing.assert_close(weight, expected)
