from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.nn.cells.slstm import SLSTMCell, SLSTMState
from recurra.nn.unroll import plan, unroll, unroll_plain


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def beck(
    x: np.ndarray, p: dict[str, np.ndarray], N: int, forget: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beck et al. 2024, equations 8-14 as they stand, and beside them their stable form, 15-17.

    Returns the outputs of both, and log of the normaliser at the end.
    """
    B, T, _ = x.shape
    H = p["weight_hh"].shape[0] // 4
    d = H // N
    R = np.zeros((4, H, H))  # block-diagonal
    for gate in range(4):
        for head in range(N):
            own = slice(head * d, (head + 1) * d)
            R[gate, own, own] = p["weight_hh"][gate * H + head * d : gate * H + (head + 1) * d]
    outputs = []
    for stable in (False, True):
        h, c, n, m = np.zeros((4, B, H))
        ys = []
        for t in range(T):
            i, f, z, o = (
                x[:, t] @ p["weight_ih"][g * H : (g + 1) * H].T
                + h @ R[g].T
                + p["bias_ih"][g * H : (g + 1) * H]
                for g in range(4)
            )
            F = logistic(f) if forget == "sigmoid" else np.exp(f)
            if stable:
                after = np.maximum(np.log(F) + m, i) if t else i
                entering, keeping = np.exp(i - after), np.exp(np.log(F) + m - after)
                m = after
            else:
                entering, keeping = np.exp(i), F
            c = keeping * c + entering * np.tanh(z)
            n = keeping * n + entering
            h = logistic(o) * c / n
            ys.append(h)
        outputs.append(np.stack(ys, axis=1))
    return outputs[0], outputs[1], np.log(n) + m


@pytest.mark.parametrize("forget", ["sigmoid", "exponential"])
@pytest.mark.parametrize("num_heads", [1, 2, 6])
def test_equations(num_heads: int, forget: str) -> None:
    cell = SLSTMCell(3, 6, num_heads, forget).double()  # type: ignore[arg-type]
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    plain, stable, log_normaliser = beck(x.numpy(), p, num_heads, forget)
    np.testing.assert_allclose(plain, stable, rtol=1e-10)
    for how in (unroll, unroll_plain):
        y, state = how(cell, x)
        np.testing.assert_allclose(y.detach().numpy(), plain, rtol=1e-10)
        np.testing.assert_allclose(state.m.detach().numpy(), log_normaliser, rtol=1e-10)


@pytest.mark.parametrize("size", [-200.0, 200.0])
def test_gates_whose_exponentials_overflow(size: float) -> None:
    cell = SLSTMCell(3, 4)
    with torch.no_grad():
        cell.bias_ih[:4] = size  # exp(200) is infinite in float32, and exp(-200) is 0
    x = torch.randn(2, 50, 3, requires_grad=True)
    y, state = unroll(cell, x)
    assert y.abs().max() <= 1  # a mean of values in (-1, 1), times a gate
    torch.testing.assert_close(state.m.mean().item(), size, rtol=0.1, atol=0.0)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_the_first_step_has_no_past() -> None:
    cell = SLSTMCell(3, 4)
    x = torch.randn(2, 3)
    _, state = cell(x, cell.initial_state(2))
    z = torch.tanh((x @ cell.weight_ih.T + cell.bias_ih)[:, 8:12])
    torch.testing.assert_close(state.c, z)
    kept = torch.full((2, 4), 7.0)
    other = cell(x, cell.initial_state(2)._replace(c=kept))[1]
    assert torch.equal(other.c, state.c) or torch.allclose(other.c, state.c, atol=1e-6)


def test_heads_do_not_read_each_other() -> None:
    cell = SLSTMCell(3, 6, num_heads=2).double()
    state = SLSTMState(*torch.randn(3, 1, 6, dtype=torch.float64))
    h = state.h.clone().requires_grad_()
    y, _ = cell(torch.randn(1, 3, dtype=torch.float64), state._replace(h=h))
    (gradient,) = torch.autograd.grad(y[0, :3].sum(), h)
    assert gradient[0, :3].abs().min() > 0 and not gradient[0, 3:].any()


def test_faults() -> None:
    with pytest.raises(ConfigError, match="num_heads divides the 6 units, got 4"):
        SLSTMCell(3, 6, num_heads=4)
    with pytest.raises(ConfigError, match="num_heads divides the 6 units, got 0"):
        SLSTMCell(3, 6, num_heads=0)
    with pytest.raises(ConfigError, match="forget is 'sigmoid' or 'exponential', got 'tanh'"):
        SLSTMCell(3, 6, forget="tanh")  # type: ignore[arg-type]


def test_forget_bias_at_initialisation() -> None:
    cell, plain = SLSTMCell(3, 4), SLSTMCell(3, 4, forget_bias=0)
    for each in (cell, plain):
        each.reset_parameters(torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        cell.bias_ih - plain.bias_ih, torch.tensor([0.0, 3.0, 0.0, 0.0]).repeat_interleave(4)
    )


def test_the_plan_names_the_kernel() -> None:
    assert plan(SLSTMCell(3, 4)) == (
        "SLSTMCell(3 -> 4): the compiled sLSTM, whole sequences at once"
    )
    assert plan(SLSTMCell(3, 4).half()) == (
        "SLSTMCell(3 -> 4): a loop behind one product of all inputs, as compiled kernels are of "
        "float32 and float64, not float16, whole sequences at once"
    )
