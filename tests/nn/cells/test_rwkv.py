from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.nn.cells.rwkv import RWKVCell
from recurra.nn.unroll import plan, unroll, unroll_plain


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def peng(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """Peng et al. 2023, equations 11-16, with its sums over the whole past; x is (T, I)."""
    T = len(x)
    H = len(p["decay"])
    before = np.concatenate([np.zeros_like(x[:1]), x[:-1]])
    r, k, v = (
        (a * x + (1 - a) * before) @ p["weight_ih"][n * H : (n + 1) * H].T
        for n, a in enumerate(p["mix"])
    )
    w, u = np.exp(p["decay"]), p["bonus"]
    wkv = np.zeros((T, H))
    for t in range(T):
        top, bottom = np.exp(u + k[t]) * v[t], np.exp(u + k[t])
        for s in range(t):
            weight = np.exp(-(t - 1 - s) * w + k[s])
            top += weight * v[s]
            bottom += weight
        wkv[t] = top / bottom
    return (logistic(r) * wkv) @ p["weight_ho"].T


def test_equations() -> None:
    cell = RWKVCell(3, 4).double()
    with torch.no_grad():
        cell.bonus.normal_()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(1, 20, 3, dtype=torch.float64)
    expected = peng(x[0].numpy(), p)
    for how in (unroll, unroll_plain):
        y, state = how(cell, x)
        np.testing.assert_allclose(y[0].detach().numpy(), expected, rtol=1e-10, atol=1e-13)
        assert torch.equal(state.x, x[:, -1])


def test_the_first_step_has_no_past() -> None:
    cell = RWKVCell(3, 4)
    x = torch.randn(2, 3)
    _, state = cell(x, cell.initial_state(2))
    _, k, v = ((a * x) @ W.T for a, W in zip(cell.mix, cell.weight_ih.chunk(3)))
    torch.testing.assert_close((state.c, state.m), (v, k))


@pytest.mark.parametrize("size", [-300.0, 300.0])
def test_keys_whose_exponentials_overflow(size: float) -> None:
    cell = RWKVCell(3, 4)
    with torch.no_grad():
        cell.weight_ih[4:8] *= size
    x = torch.randn(2, 40, 3, requires_grad=True)
    for how in (unroll, unroll_plain):
        y, state = how(cell, x)
        assert y.isfinite().all() and all(tensor.isfinite().all() for tensor in state)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert gradient.isfinite().all()


def test_old_values_fade_by_the_decay() -> None:
    cell = RWKVCell(1, 1).double()
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([[0.0], [0.0], [1.0]]))  # all keys alike, v = x
        cell.mix.fill_(1.0)
        cell.decay.fill_(np.log(np.log(2)))  # half is left after a step
    x = torch.tensor([[[1.0], [0.0], [0.0], [0.0]]], dtype=torch.float64)
    _, state = unroll(cell, x)
    np.testing.assert_allclose(state.c.item(), 0.125 / 1.875, rtol=1e-12)
    np.testing.assert_allclose(state.m.item(), np.log(1.875), rtol=1e-12)


def test_the_plan_names_the_kernel() -> None:
    assert plan(RWKVCell(3, 4)) == (
        "RWKVCell(3 -> 4): a compiled scan between products of all steps, whole sequences at once"
    )
    assert "a loop of means, as compiled kernels are of float32" in plan(RWKVCell(3, 4).half())


def test_the_loop_where_no_compiled_kernel_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = RWKVCell(3, 4).double(), torch.randn(3, 5, 3, dtype=torch.float64)
    lengths = torch.tensor([5, 0, 2])
    expected = unroll(cell, x, lengths=lengths)
    monkeypatch.setattr("recurra.nn.cells.rwkv.served", lambda x: "none are here")
    assert "as none are here" in plan(cell)
    torch.testing.assert_close(unroll(cell, x, lengths=lengths), expected)


@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_inputs_may_come_in_one_buffer_and_are_not_kept_whole(how: Any) -> None:
    cell, x = RWKVCell(3, 4), torch.randn(2, 6, 3)
    buffer, state, before = torch.empty(2, 3), cell.initial_state(2), cell.initial_state(2)
    for x_t in x.unbind(1):
        expected, before = cell(x_t, before)
        y, state = cell(buffer.copy_(x_t), state)
        torch.testing.assert_close(y, expected)
    pieces, state = torch.empty(2, 2, 3), cell.initial_state(2)
    for piece in x.split(2, dim=1):
        y, state = how(cell, pieces.copy_(piece), state)
    torch.testing.assert_close(y[:, -1], expected)
    for lengths in (None, torch.tensor([2, 1])):
        _, state = how(cell, pieces, lengths=lengths)
        assert state.x.untyped_storage().nbytes() == 4 * state.x.numel()


class States(nn.Module):
    """A cell, of which all states are returned."""

    def __init__(self, cell: RWKVCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Any:
        return unroll(self.cell, x, states=True)


def test_a_frozen_cell_with_all_its_states_is_exported() -> None:
    model, x = States(RWKVCell(3, 4).requires_grad_(False)), torch.randn(2, 5, 3)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
