"""Cells of Flax, Haiku and Equinox, run beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.nn.unroll import unroll
from recurra.nn.weights import from_flax

pytestmark = pytest.mark.filterwarnings("ignore")

X = np.random.default_rng(3).normal(size=(2, 5, 3)).astype(np.float32)
H = 4


def assert_same(tree: Any, kind: Any, ys: list[Any]) -> None:
    found = unroll(from_flax(tree, kind), torch.from_numpy(X))[0].detach().numpy()
    expected = np.stack([np.asarray(y) for y in ys], axis=1)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def drawn(jax: Any, tree: Any) -> Any:
    """A tree of other numbers: fresh biases are all zero."""
    draw = np.random.default_rng(4)
    return jax.tree.map(lambda a: draw.normal(size=a.shape).astype(np.float32) * 0.5, tree)


CELLS = {"LSTMCell": "lstm", "OptimizedLSTMCell": "lstm", "GRUCell": "gru", "SimpleCell": "rnn"}


@pytest.mark.parametrize("name", CELLS)
def test_flax_linen(name: str, peer: Any) -> None:
    jax, linen = peer("jax"), peer("flax.linen")
    cell, key = getattr(linen, name)(features=H), jax.random.key(1)
    carry = cell.initialize_carry(key, X[:, 0].shape)
    params = drawn(jax, cell.init(key, carry, X[:, 0]))
    ys = []
    for t in range(X.shape[1]):
        carry, y = cell.apply(params, carry, X[:, t])
        ys.append(y)
    assert_same(params, CELLS[name], ys)


@pytest.mark.parametrize("name", CELLS)
def test_flax_nnx(name: str, peer: Any) -> None:
    jax, nnx = peer("jax"), peer("flax.nnx")
    cell = getattr(nnx, name)(3, H, rngs=nnx.Rngs(1))
    graph, params, rest = nnx.split(cell, nnx.Param, ...)
    params = drawn(jax, params)
    cell = nnx.merge(graph, params, rest)
    carry, ys = cell.initialize_carry(X[:, 0].shape, nnx.Rngs(2)), []
    for t in range(X.shape[1]):
        carry, y = cell(carry, X[:, t])
        ys.append(y)
    assert_same(nnx.to_pure_dict(params), CELLS[name], ys)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_haiku(name: str, peer: Any) -> None:
    jax, haiku = peer("jax"), peer("haiku")

    def run(x: Any) -> Any:
        core = getattr(haiku, name)(H)
        state, ys = core.initial_state(len(x)), []
        for t in range(x.shape[1]):
            y, state = core(x[:, t], state)
            ys.append(y)
        return ys

    pure = haiku.without_apply_rng(haiku.transform(run))
    params = drawn(jax, pure.init(jax.random.key(1), X))
    assert_same(params, name.lower(), pure.apply(params, X))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell"])
def test_equinox(name: str, bias: bool, peer: Any) -> None:
    jax, equinox = peer("jax"), peer("equinox")
    cell = getattr(equinox.nn, name)(3, H, use_bias=bias, key=jax.random.key(1))
    zero = np.zeros((2, H), np.float32)
    state: Any = (zero, zero) if name == "LSTMCell" else zero
    ys = []
    for t in range(X.shape[1]):
        state = jax.vmap(cell)(X[:, t], state)
        ys.append(state[0] if name == "LSTMCell" else state)
    assert_same(vars(cell), name[:-4].lower(), ys)
