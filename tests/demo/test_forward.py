"""The forward pass by hand: against plain arithmetic, and against RNNCell."""

from __future__ import annotations

import math

import pytest
import torch

from recurra.demo import forward as demo
from recurra.nn.cells.rnn import RNNCell, RNNState


def test_the_printed_figures():
    first, second = demo.forward()
    assert first.before_activation == pytest.approx([0.6, 0.5])
    assert first.state == pytest.approx([0.53704957, 0.46211716], abs=1e-8)
    assert first.output == pytest.approx([1.56128388], abs=1e-8)
    assert second.before_activation == pytest.approx([1.2923401, 1.39225678], abs=1e-8)
    assert second.state == pytest.approx([0.85973818, 0.88366641], abs=1e-8)
    assert second.output == pytest.approx([2.72707101], abs=1e-8)


def test_it_is_plain_arithmetic():
    a = b = 0.0
    for x, step in zip((1, 2), demo.forward()):
        before = (0.1 * a + 0.3 * b + 0.5 * x + 0.1, 0.2 * a + 0.4 * b + 0.6 * x - 0.1)
        a, b = (math.tanh(unit) for unit in before)
        assert step.before_activation == pytest.approx(before, rel=1e-15)
        assert step.state == pytest.approx((a, b), rel=1e-15)
        assert step.output == pytest.approx([a + 2 * b + 0.1], rel=1e-15)


def test_it_is_an_rnn_cell():
    cell = RNNCell(1, 2).double()
    with torch.no_grad():
        cell.weight_ih.copy_(torch.from_numpy(demo.INPUT_WEIGHTS)[:, None])
        cell.weight_hh.copy_(torch.from_numpy(demo.STATE_WEIGHTS).T)
        cell.bias_ih.copy_(torch.from_numpy(demo.BIAS))
        cell.bias_hh.zero_()
        state = RNNState(torch.zeros(1, 2, dtype=torch.float64))
        for x, step in zip(demo.INPUTS, demo.forward()):
            h, state = cell(torch.tensor([[x]], dtype=torch.float64), state)
            assert h[0].tolist() == pytest.approx(step.state, rel=1e-14)
