"""Products with packed weights, beside numpy's in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.products.packed import (
    BLOCK,
    ROWS,
    Precision,
    packed,
    packed_product,
    tile_of_one,
    tile_of_rows,
)

both = pytest.mark.parametrize("precision", ["float32", "int8"])


def numbers(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def product(weight: Any, bias: Any, x: Any, precision: Precision, at: int = 0) -> Any:
    """Return what `packed_product` writes, the outputs that fill the last block cut off."""
    weights, scales, biases = packed(weight, bias, precision)
    R, K = weight.shape
    matrix = np.array([0, 0, K, len(biases) // BLOCK])
    y = np.full((len(x), len(biases)), np.nan, np.float32)
    packed_product(
        matrix, weights, scales if precision == "int8" else None, biases, x, at, y, 0, matrix[3]
    )
    return y[:, :R]


@both
@given(rows=st.integers(1, 17), inputs=st.integers(1, 9), outputs=st.integers(1, 2 * BLOCK + 1))
def test_a_product_is_that_of_numpy(
    precision: Precision, rows: int, inputs: int, outputs: int
) -> None:
    weight, bias, x = numbers(1, outputs, inputs), numbers(2, outputs), numbers(3, rows, inputs)
    found = product(weight, bias, x, precision)
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    if precision == "float32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
        return
    # No weight is further off than half a step; inputs are of 16 bits.
    step = np.abs(weight).max(1) / 127
    most = np.abs(x).sum(1, keepdims=True) * (step / 2)
    assert np.all(np.abs(found - expected) <= most * 1.02 + 1e-3)


@both
def test_what_fills_the_last_block_has_no_probability(precision: Precision) -> None:
    weights, scales, biases = packed(numbers(1, 70, 5), numbers(2, 70), precision)
    assert len(biases) == len(scales) == 2 * BLOCK
    assert len(weights) == 2 * BLOCK * (5 if precision == "float32" else 6)
    y = np.zeros((3, len(biases)), np.float32)
    matrix, given = np.array([0, 0, 5, 2]), scales if precision == "int8" else None
    packed_product(matrix, weights, given, biases, numbers(3, 3, 5), 0, y, 0, matrix[3])
    assert np.all(y[:, 70:] == -np.inf)
    assert np.isfinite(y[:, :70]).all()


@both
def test_a_rows_sums_are_the_same_to_the_bit_beside_any_others(precision: Precision) -> None:
    weight, bias, x = numbers(1, 70, 13), numbers(2, 70), numbers(3, 9, 13)
    together = product(weight, bias, x, precision)
    for n in range(len(x)):
        assert np.array_equal(product(weight, bias, x[n : n + 1], precision)[0], together[n])
    assert np.array_equal(product(weight, bias, x[2:8].copy(), precision), together[2:8])


@both
def test_inputs_may_lie_within_wider_rows(precision: Precision) -> None:
    weight, bias, x = numbers(1, 70, 5), numbers(2, 70), numbers(3, 6, 11)
    expected = product(weight, bias, x[:, 4:9].copy(), precision)
    assert np.array_equal(product(weight, bias, x, precision, at=4), expected)


def test_int8_is_exact_for_what_it_can_say() -> None:
    """Whole numbers to 127, and a scale for each output and for each row."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (40, 9)).astype(np.float32)
    weight[:, 0] = 127
    x = rng.integers(-32767, 32768, (5, 9)).astype(np.float32)
    x[:, 1] = 32767
    scales = (2.0 ** rng.integers(-9, 9, (40, 1))).astype(np.float32)
    found = product(weight * scales, numbers(1, 40) * 0, x / 1024, "int8")
    np.testing.assert_allclose(found, x / 1024 @ (weight * scales).T, rtol=2e-6)


def test_sums_do_not_overflow_however_many_inputs_there_are() -> None:
    K = 20_001
    weight, x = np.ones((1, K), np.float32), np.full((1, K), 3.0, np.float32)
    found = product(weight, np.zeros(1, np.float32), x, "int8")
    assert found == pytest.approx(3 * K, rel=2e-3)


@both
def test_rows_of_zeros_give_the_biases(precision: Precision) -> None:
    bias = numbers(2, 70)
    assert np.array_equal(
        product(numbers(1, 70, 6) * 0, bias, numbers(3, 2, 6), precision)[1], bias
    )
    assert np.array_equal(
        product(numbers(1, 70, 6), bias, numbers(3, 1, 6) * 0, precision)[0], bias
    )


@both
@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_what_is_not_finite_is_not_lost(precision: Precision, fault: float) -> None:
    x = numbers(3, 2, 6)
    x[1, 4] = fault
    found = product(numbers(1, 3, 6), numbers(2, 3), x, precision)
    assert np.isfinite(found[0]).all()
    assert not np.isfinite(found[1]).any()


@compiled
def one(w: Any, w_at: int, x: Any, x_at: int, n: int, y: Any, y_at: int) -> None:
    tile_of_one(w, w_at, x, x_at, n, y, y_at)


@compiled
def rows(w: Any, w_at: int, x: Any, x_at: int, n: int, y: Any, y_at: int) -> None:
    tile_of_rows(w, w_at, x, x_at, n, y, y_at)


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("count", [1, ROWS])
def test_vector_instructions_do_what_the_function_says(kind: str, count: int) -> None:
    draws = np.random.default_rng(0)
    w = draws.integers(-127, 128, 700).astype(kind)
    x = draws.integers(-9, 10, (6, 10)).astype("float32" if kind == "float32" else "int16")
    y = draws.integers(-9, 10, (5, 100)).astype("float32" if kind == "float32" else "int32")
    found, expected = y.copy(), y.copy()
    run, plain = (one, tile_of_one) if count == 1 else (rows, tile_of_rows)
    run(w, 128, x, 12, 3, found, 107)
    plain(w, 128, x, 12, 3, expected, 107)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, y)
