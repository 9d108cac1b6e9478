from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recurra.nn.cells.qrnn import QRNNCell, QRNNState
from recurra.nn.unroll import unroll, unroll_plain


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def bradbury(x: np.ndarray, x_before: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]):
    """Bradbury et al. 2017, equations 2 and 4: W^1 on the input before, W^2 on this one."""
    I, H = x.shape[1], c.shape[1]  # noqa: E741
    gates = []
    for n in range(3):
        W, b = p["weight_ih"][n * H : (n + 1) * H], p["bias_ih"][n * H : (n + 1) * H]
        gates.append(x_before @ W[:, :I].T + x @ W[:, I:].T + b)
    z, f, o = np.tanh(gates[0]), logistic(gates[1]), logistic(gates[2])
    c = f * c + (1 - f) * z
    return o * c, c


def test_equations() -> None:
    cell = QRNNCell(3, 4).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    random = np.random.default_rng(0)
    c, before = random.normal(size=(2, 4)), random.normal(size=(2, 3))
    state = start = QRNNState(torch.from_numpy(c), torch.from_numpy(before))
    for t in range(5):
        h, c = bradbury(x[:, t].numpy(), before, c, p)
        before = x[:, t].numpy()
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
        assert torch.equal(state.x, x[:, t])
    y, end = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(end.c.detach().numpy(), c, rtol=1e-12)


def test_its_products_are_a_causal_convolution_of_torch() -> None:
    cell, x = QRNNCell(3, 4), torch.randn(2, 9, 3)
    weight = cell.weight_ih.view(12, 2, 3).transpose(1, 2)
    sums = F.conv1d(F.pad(x.transpose(1, 2), (1, 0)), weight, cell.bias_ih).transpose(1, 2)
    z, f, o = sums.chunk(3, dim=2)
    c, outputs = torch.zeros(2, 4), []
    for t in range(9):
        c = torch.lerp(torch.tanh(z[:, t]), c, torch.sigmoid(f[:, t]))
        outputs.append(torch.sigmoid(o[:, t]) * c)
    torch.testing.assert_close(unroll(cell, x)[0], torch.stack(outputs, dim=1))


def test_the_input_before_is_the_one_at_a_row_s_length() -> None:
    cell, x = QRNNCell(3, 4), torch.randn(3, 6, 3)
    start = QRNNState(torch.randn(3, 4), torch.randn(3, 3))
    _, state = unroll(cell, x, start, lengths=torch.tensor([6, 0, 2]))
    expected = torch.stack([x[0, 5], start.x[1], x[2, 1]])
    assert torch.equal(state.x, expected)


def test_long_sequences_in_single_precision() -> None:
    cell, x = QRNNCell(5, 40), torch.randn(3, 300, 5)
    torch.testing.assert_close(unroll(cell, x)[0], unroll_plain(cell, x)[0], rtol=1e-4, atol=1e-5)


def test_the_gates_make_the_output() -> None:
    cell, x = QRNNCell(3, 4), torch.randn(2, 3)
    state = QRNNState(torch.randn(2, 4), torch.randn(2, 3))
    z, f, o = cell.gates(x, state).values()
    torch.testing.assert_close(cell(x, state)[0], o * (f * state.c + (1 - f) * z))
    assert cell.kernel(x).name == "a compiled scan, gates and all"


@pytest.mark.parametrize("how", [unroll, unroll_plain])
def test_inputs_may_come_in_one_buffer_and_are_not_kept_whole(how: Any) -> None:
    cell, x = QRNNCell(3, 4), torch.randn(2, 6, 3)
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


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_narrow_inputs_meet_a_wide_state_under_autocast(kind: torch.dtype) -> None:
    cell, x = QRNNCell(3, 4), torch.randn(2, 5, 3)
    expected, _ = unroll(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        for state in (None, cell.initial_state(2)):
            y, _ = unroll_plain(cell, x.to(kind), state)
            torch.testing.assert_close(y, expected, rtol=0, atol=0.05)
