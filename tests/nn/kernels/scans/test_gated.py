from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.kernels.scans.gated import min_gru_scan, min_lstm_scan, positive, qrnn_scan


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_positive_is_continuous_above_zero_and_linear_from_there() -> None:
    a = torch.tensor([-800.0, -1e-9, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    g = positive(a)
    expected = [0.0, 0.5, 0.5, 3.5]
    np.testing.assert_allclose(g.detach().numpy(), expected, atol=1e-8)
    g.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), [0, 0.25, 1, 1], atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_closed_gates_share_by_their_odds(dtype: torch.dtype) -> None:
    # Both gates are 0 in float32, and f / (f + i) would be 0 / 0.
    i, f = -200.0, -199.0
    products = torch.tensor([[[i, f, 0.0]]], dtype=dtype)
    _, h = min_lstm_scan(products, products.new_zeros(3), products.new_ones(1, 1))
    assert h.item() == pytest.approx(1 / (1 + np.exp(i - f)), rel=1e-6)


@pytest.mark.parametrize("size", [50.0, 1e4])
@pytest.mark.parametrize("name", ["gru", "lstm", "qrnn"])
def test_saturated_gates_keep_all_finite(name: str, size: float) -> None:
    functions = {"gru": min_gru_scan, "lstm": min_lstm_scan, "qrnn": qrnn_scan}
    K = 2 if name == "gru" else 3
    products = (size * torch.randn(2, 40, K * 20).sign()).requires_grad_()
    bias = torch.zeros(K * 20, requires_grad=True)
    y, h = functions[name](products, bias, torch.ones(2, 20))
    (y.sum() + h.sum()).backward()
    for tensor in (y, h, products.grad, bias.grad):
        assert tensor.isfinite().all()


def test_a_gate_held_open_forgets_and_one_held_shut_remembers() -> None:
    n = torch.randn(1, 5, 1)
    for z, expected in ((100.0, n[0, :, 0]), (-100.0, torch.full((5,), 7.0))):
        products = torch.cat([torch.full_like(n, z), n], dim=2)
        y, _ = min_gru_scan(products, torch.zeros(2), torch.full((1, 1), 7.0))
        torch.testing.assert_close(y[0, :, 0], expected)


def test_nan_of_one_channel_stays_in_it() -> None:
    products = torch.randn(1, 5, 40)
    products[0, 2, 3] = torch.nan
    y, _ = min_gru_scan(products, torch.zeros(40), torch.zeros(1, 20))
    expected = torch.zeros(5, 20, dtype=torch.bool)
    expected[2:, 3] = True
    assert torch.equal(y[0].isnan(), expected)


@pytest.mark.parametrize("scan", [min_gru_scan, min_lstm_scan, qrnn_scan])
def test_what_loops_would_read_past_is_refused(scan: Any) -> None:
    K = 2 if scan is min_gru_scan else 3
    products, bias, state = torch.zeros(2, 4, K * 5), torch.zeros(K * 5), torch.zeros(2, 5)
    scan(products, bias, state)
    for at, wrong in [(0, products[..., 1:]), (1, bias[1:]), (2, state[1:]), (1, bias.double())]:
        given = [products, bias, state]
        given[at] = wrong
        with pytest.raises(ShapeError, match=r"is \(.*C\) of torch.float32 where .*C = 5"):
            scan(*given)
