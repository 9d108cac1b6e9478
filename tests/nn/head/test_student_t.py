from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from recurra.nn.head.student_t import StudentTHead

LEVELS = (0.025, 0.1, 0.3, 0.5, 0.6, 0.9)


def drawn(head: StudentTHead) -> Any:
    for parameter in head.parameters():
        nn.init.uniform_(parameter, -1.0, 1.0)
    return head


def test_students_t_has_its_quantiles_and_its_surprise() -> None:
    head = drawn(StudentTHead(4, 3, LEVELS)).double()
    told = head(torch.randn(5, 4).double())
    assert told.shape == (5, 3, 3)
    location, scale, freedom = told.detach().numpy().transpose(2, 0, 1)
    assert (scale > 0).all()
    assert (freedom > 2).all(), "so that it has a deviation"
    expected = np.stack([stats.t.ppf(q, freedom, location, scale) for q in LEVELS], -1)
    np.testing.assert_allclose(head.quantiles(told), expected, rtol=1e-9)
    targets = torch.randn(5, 3).double()
    surprise = -stats.t.logpdf(targets.numpy(), freedom, location, scale)
    np.testing.assert_allclose(head.loss(told, targets).detach(), surprise, rtol=1e-9)


def test_students_t_is_made_of_a_linear_layer() -> None:
    head = drawn(StudentTHead(4, 2, LEVELS))
    hidden = torch.randn(3, 4)
    raw = (hidden @ head.linear.weight.T + head.linear.bias).view(3, 2, 3)
    found = head(hidden)
    torch.testing.assert_close(found[..., 0], raw[..., 0])
    torch.testing.assert_close(found[..., 1], torch.log1p(raw[..., 1].exp()) + 1e-4)
    torch.testing.assert_close(found[..., 2], 2 + torch.log1p(raw[..., 2].exp()))


def test_a_fresh_students_t_says_the_same_of_everything() -> None:
    location, scale, freedom = StudentTHead(4, 2, LEVELS)(torch.randn(3, 4)).unbind(-1)
    assert not location.any()
    assert scale.flatten().tolist() == pytest.approx([0.3] * 6, abs=1e-3)
    assert freedom.flatten().tolist() == pytest.approx([6.0] * 6, abs=0.02)


def test_gradients_are_those_of_finite_differences() -> None:
    head = drawn(StudentTHead(3, 2, LEVELS)).double()
    hidden = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(2, 2).double()
    leaves = (hidden, *head.parameters())
    assert torch.autograd.gradcheck(lambda hidden, *_: head.loss(head(hidden), targets), leaves)
