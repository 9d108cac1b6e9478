from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap

from recurra.nn.kernels.dropout import dropout_mask

RATES = [0.0, 0.01, 0.1, 0.25, 0.5, 0.65, 0.9, 0.99]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("p", RATES)
def test_the_rate_is_met_within_four_sigma(p: float) -> None:
    n = 400_000
    dropped = (dropout_mask((n,), p, seeded(1)) == 0).double().mean().item()
    assert abs(dropped - p) <= 4 * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize("p", RATES)
def test_each_unit_of_a_word_has_the_rate(p: float) -> None:
    # Sixteen bits a unit, four units a word: none of the four may be special.
    n = 100_000
    dropped = (dropout_mask((n, 4), p, seeded(2)) == 0).double().mean(dim=0)
    assert ((dropped - p).abs() <= 4.5 * (p * (1 - p) / n) ** 0.5).all()


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.integers(0, 2**31),
)
def test_values_are_zero_or_the_scale(
    shape: list[int], p: float, dtype: torch.dtype, seed: int
) -> None:
    mask = dropout_mask(shape, p, seeded(seed), dtype)
    assert (list(mask.shape), mask.dtype) == (shape, dtype)
    scale = torch.tensor(1 / (1 - p), dtype=dtype)
    assert ((mask == 0) | (mask == scale)).all()
    assert torch.equal(mask, dropout_mask(shape, p, seeded(seed), dtype))


def test_the_ends_of_the_range() -> None:
    assert (dropout_mask((1000,), 0.0, seeded(1)) == 1).all()
    assert (dropout_mask((1000,), 1e-9, seeded(1)) != 0).all()
    assert (dropout_mask((1000,), 1 - 1e-9, seeded(1)) == 0).all()


def test_one_generator_goes_on_and_two_are_independent() -> None:
    generator = seeded(1)
    first, second = (dropout_mask((100_000,), 0.5, generator) / 2 for _ in range(2))
    other = dropout_mask((100_000,), 0.5, seeded(2)) / 2
    for a, b in ((first, second), (first, other), (first[1:], first[:-1]), (first[4:], first[:-4])):
        correlation = torch.corrcoef(torch.stack([a, b]))[0, 1].item()
        assert abs(correlation) < 4 / 100_000**0.5


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    dropout_mask((10, 10), 0.5, seeded(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(3, 5), (2, 0), (1,), (2, 3, 4)])
def test_a_transform_draws_the_same_to_the_bit(shape: tuple[int, ...]) -> None:
    drawn = []

    def masked(x: torch.Tensor) -> torch.Tensor:
        drawn.append(dropout_mask(shape, 0.3, seeded(1)))
        return x

    grad(masked)(torch.tensor(1.0))
    assert torch.equal(drawn[0], dropout_mask(shape, 0.3, seeded(1)))


def test_vmap_draws_for_each_of_its_rows_or_once() -> None:
    def drawn(randomness: str) -> torch.Tensor:
        generator = seeded(1)
        rows = vmap(lambda x: x * dropout_mask((400,), 0.5, generator), randomness=randomness)
        return rows(torch.ones(3))

    once, each = drawn("same"), drawn("different")
    assert torch.equal(once, dropout_mask((400,), 0.5, seeded(1)).expand(3, -1))
    assert set(each.unique().tolist()) == {0.0, 2.0}
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert 140 < (each[one] == each[other]).sum() < 260  # 200 of 400 by chance, 6 sigma
    with pytest.raises(RuntimeError, match="randomness"):
        drawn("error")
