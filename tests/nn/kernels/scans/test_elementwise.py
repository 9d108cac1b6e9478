from __future__ import annotations

import pytest
import torch

from recurra.errors import ShapeError
from recurra.nn.kernels.scans.elementwise import ind_rnn_sequence, sru_sequence


def test_a_unit_sees_itself_alone() -> None:
    s, state = torch.randn(2, 7, 5), torch.randn(2, 5).abs()
    bias, weight = torch.randn(5), torch.rand(5)
    y, h = ind_rnn_sequence(s, bias, weight, state)
    for unit in range(5):
        at = slice(unit, unit + 1)
        alone = ind_rnn_sequence(s[..., at], bias[at], weight[at], state[:, at])
        torch.testing.assert_close((y[..., at], h[:, at]), alone)


def test_no_gradient_goes_through_a_unit_at_zero() -> None:
    s = torch.tensor([[[1.0], [-9.0], [2.0]]], requires_grad=True)
    y, _ = ind_rnn_sequence(s, torch.zeros(1), torch.ones(1), torch.zeros(1, 1))
    assert y.flatten().tolist() == [1.0, 0.0, 2.0]
    y.sum().backward()
    assert s.grad.flatten().tolist() == [1.0, 0.0, 1.0]


def test_nan_passes_a_rectifier() -> None:
    s = torch.tensor([[[1.0], [torch.nan], [2.0]]], requires_grad=True)
    y, h = ind_rnn_sequence(s, torch.zeros(1), torch.ones(1), torch.zeros(1, 1))
    assert y.isnan().flatten().tolist() == [False, True, True] and h.isnan().all()
    y.sum().backward()
    assert s.grad.flatten().tolist() == [3.0, 2.0, 1.0]


def test_the_highway_is_scaled_and_shut_by_its_gate() -> None:
    products = torch.cat([torch.randn(1, 4, 2), torch.zeros(1, 4, 2)], dim=2)
    skip, c = torch.randn(1, 4, 2), torch.randn(1, 2)
    zero = torch.zeros(4)
    for r, passing in ((100.0, False), (-100.0, True)):
        gates = torch.cat([products, torch.full((1, 4, 2), r)], dim=2)
        y, end = sru_sequence(gates, skip, (zero, zero), c, None, 3.0)
        if passing:
            torch.testing.assert_close(y, 3 * skip)
        else:
            torch.testing.assert_close(y[:, -1], end)


def test_what_loops_would_read_past_is_refused() -> None:
    one, state = torch.ones(3), torch.ones(2, 3)
    with pytest.raises(ShapeError, match=r"weight is \(C\) .* C = 3, .*got \(2,\)"):
        ind_rnn_sequence(torch.ones(2, 4, 3), one, one[:2], state)
    with pytest.raises(ShapeError, match=r"bias is \(C\) .* C = 3, .*got \(4,\)"):
        ind_rnn_sequence(torch.ones(2, 4, 3), torch.ones(4), torch.ones(2), state)
    with pytest.raises(ShapeError, match=r"skip is \(B, T, C\) .*, got \(2, 3, 3\)"):
        sru_sequence(torch.ones(2, 4, 9), torch.ones(2, 3, 3), (torch.ones(6),) * 2, state)
