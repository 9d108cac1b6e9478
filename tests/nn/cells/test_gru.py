from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.nn.cells.gru import GRUCell, GRUState
from recurra.nn.unroll import unroll

BOTH = pytest.mark.parametrize("reset_after", [True, False])


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def cho(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray], reset_after: bool) -> np.ndarray:
    """Cho et al. 2014, equations 5-8, unit by unit over the rows of the weights r, z, n.

    The paper keeps the old state by z, so here z is its z; its reset gate acts before the
    product, and the variant after it is the one of cuDNN's manual.
    """
    H = h.shape[1]
    U, b = p["weight_hh"], p["bias_hh"]
    wx = x @ p["weight_ih"].T + p["bias_ih"]
    r = logistic(wx[:, :H] + h @ U[:H].T + b[:H])
    z = logistic(wx[:, H : 2 * H] + h @ U[H : 2 * H].T + b[H : 2 * H])
    U_n, b_n = U[2 * H :], b[2 * H :]
    reset = r * (h @ U_n.T + b_n) if reset_after else (r * h) @ U_n.T + b_n
    candidate = np.tanh(wx[:, 2 * H :] + reset)
    return z * h + (1 - z) * candidate


@BOTH
def test_equations(reset_after: bool) -> None:
    cell = GRUCell(3, 4, reset_after).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = np.random.default_rng(0).normal(size=(2, 4))
    state = start = GRUState(torch.from_numpy(h))
    for t in range(5):
        h = cho(x[:, t].numpy(), h, p, reset_after)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        assert torch.equal(y, state.h)
    np.testing.assert_allclose(unroll(cell, x, start)[1].h.detach().numpy(), h, rtol=1e-12)


def test_the_two_resets_differ() -> None:
    after = GRUCell(3, 4)
    before = GRUCell(3, 4, reset_after=False)
    before.load_state_dict(after.state_dict())
    x = torch.randn(2, 5, 3)
    assert (unroll(after, x)[0] - unroll(before, x)[0]).abs().max() > 1e-3


def test_torch_twins_with_the_same_weights() -> None:
    cell, twin = GRUCell(3, 4), nn.GRUCell(3, 4)
    cell.load_state_dict(twin.state_dict())
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    torch.testing.assert_close(cell(x, GRUState(h))[0], twin(x, h))

    layer = nn.GRU(3, 4, batch_first=True)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = torch.randn(2, 7, 3)
    y, state = unroll(cell, x, GRUState(h))
    expected, h_end = layer(x, h.unsqueeze(0))
    torch.testing.assert_close((y, state.h), (expected, h_end[0]))


def test_the_kernel_says_what_it_is_or_why_there_is_none() -> None:
    x, narrow = torch.zeros(1), torch.zeros(1).bfloat16()
    for reset_after in (True, False):
        assert GRUCell(3, 4, reset_after).kernel(x).name == "the compiled GRU"
    reason = "compiled kernels are of float32 and float64, not bfloat16"
    assert GRUCell(3, 4).kernel(narrow).name == f"ATen's GRU loop, as {reason}"
    assert GRUCell(3, 4, reset_after=False).kernel(narrow) == (
        f"{reason}; vendor kernels reset after the product with weight_hh alone"
    )


def test_without_numba_it_runs_on_atens_or_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 5, 3)
    lengths = torch.tensor([5, 0, 2])
    cells = [GRUCell(3, 4), GRUCell(3, 4, reset_after=False)]
    compiled = [unroll(cell, x, lengths=lengths) for cell in cells]
    monkeypatch.setattr("recurra.nn.kernels.compiler.compiled.missing", lambda: "numba is not here")
    assert cells[0].kernel(x).name == "ATen's GRU loop, as numba is not here"
    assert "numba is not here" in cells[1].kernel(x)
    for cell, expected in zip(cells, compiled):
        torch.testing.assert_close(unroll(cell, x, lengths=lengths), expected)


@BOTH
def test_the_gates_are_those_of_the_equations_and_make_the_state(reset_after: bool) -> None:
    cell = GRUCell(3, 4, reset_after).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    gates = {name: g.detach().numpy() for name, g in cell.gates(x, GRUState(h)).items()}
    assert list(gates) == ["r", "z", "n"]
    into = np.split(x.numpy() @ p["weight_ih"].T + p["bias_ih"], 3, axis=1)
    back = np.split(h.numpy() @ p["weight_hh"].T + p["bias_hh"], 3, axis=1)
    for name, gate, sums in zip("rz", into, back):
        np.testing.assert_allclose(gates[name], logistic(gate + sums), rtol=1e-12)
    expected = cho(x.numpy(), h.numpy(), p, reset_after)
    z, n = gates["z"], gates["n"]
    np.testing.assert_allclose((1 - z) * n + z * h.numpy(), expected, rtol=1e-12)
    after = cell(x, GRUState(h))[0].detach().numpy()
    np.testing.assert_allclose(after, expected, rtol=1e-12)
