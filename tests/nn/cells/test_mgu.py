from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.nn.cells.mgu import MGUCell, MGUState
from recurra.nn.unroll import plan, unroll


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def zhou(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """Zhou et al. 2016, equation 6: each product is of [h, x] or [f * h, x] side by side."""
    H = h.shape[1]
    b = p["bias_ih"] + p["bias_hh"]
    W = np.concatenate([p["weight_hh"], p["weight_ih"]], axis=1)
    f = logistic(np.concatenate([h, x], axis=1) @ W[:H].T + b[:H])
    new = np.tanh(np.concatenate([f * h, x], axis=1) @ W[H:].T + b[H:])
    return (1 - f) * h + f * new


def numbers(cell: MGUCell) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}


def test_equations() -> None:
    cell = MGUCell(3, 4).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = MGUState(torch.from_numpy(h))
    for t in range(5):
        h = zhou(x[:, t].numpy(), h, numbers(cell))
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-12)


def test_the_gates_are_those_of_the_equations_and_make_the_state() -> None:
    cell = MGUCell(3, 4).double()
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    gates = cell.gates(x, MGUState(h))
    assert list(gates) == ["f", "n"]
    assert gates["f"].min() > 0 and gates["f"].max() < 1 and gates["n"].abs().max() < 1
    made = (1 - gates["f"]) * h + gates["f"] * gates["n"]
    expected = zhou(x.numpy(), h.numpy(), numbers(cell))
    np.testing.assert_allclose(made.detach().numpy(), expected, rtol=1e-12)


def test_a_shut_gate_keeps_the_state_and_an_open_one_replaces_it() -> None:
    cell = MGUCell(3, 4)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    with torch.no_grad():
        cell.bias_ih[:4] = -100.0
        assert torch.equal(cell(x, MGUState(h))[0], h)
        cell.bias_ih[:4] = 100.0
        torch.testing.assert_close(cell(x, MGUState(h))[0], cell.gates(x, MGUState(h))["n"])


def test_the_plan_names_the_kernel() -> None:
    assert plan(MGUCell(3, 4)) == "MGUCell(3 -> 4): the compiled MGU, whole sequences at once"
    assert "a loop behind one product of all inputs, as compiled kernels are of float32" in plan(
        MGUCell(3, 4).half()
    )


def test_the_loop_where_no_compiled_kernel_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = MGUCell(3, 4).double(), torch.randn(3, 5, 3, dtype=torch.float64)
    lengths = torch.tensor([5, 0, 2])
    expected = unroll(cell, x, lengths=lengths)
    monkeypatch.setattr("recurra.nn.cells.mgu.served", lambda x: "none are here")
    assert "as none are here" in plan(cell)
    torch.testing.assert_close(unroll(cell, x, lengths=lengths), expected)
