from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError
from recurra.nn.cells.clockwork_rnn import ClockworkRNNCell
from recurra.nn.unroll import plan, unroll, unroll_plain


def koutnik(
    x: np.ndarray, h: np.ndarray, t: int, p: dict[str, np.ndarray], periods: list[int]
) -> np.ndarray:
    """Koutnik et al. 2014, section 3, unit by unit: `periods` holds that of each unit."""
    after = h.copy()
    for k, period in enumerate(periods):
        if t % period == 0:
            total = p["weight_ih"][k] @ x + p["bias_ih"][k] + p["bias_hh"][k]
            for j, other in enumerate(periods):
                if other >= period:
                    total += p["weight_hh"][k, j] * h[j]
            after[k] = np.tanh(total)
    return after


@pytest.mark.parametrize(
    ("periods", "units"),
    [((1, 2, 4), [1, 1, 1, 2, 2, 4, 4]), ((2, 3), [2, 2, 2, 2, 3, 3, 3])],
    ids=["exponential", "any"],
)
def test_equations(periods: tuple[int, ...], units: list[int]) -> None:
    cell = ClockworkRNNCell(3, 7, periods).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(1, 15, 3, dtype=torch.float64)
    state = cell.initial_state()
    whole, _ = unroll(cell, x)
    h = np.zeros(7)
    for t in range(15):
        h = koutnik(x[0, t].numpy(), h, t, p, units)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y[0].detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(whole[0, t].detach().numpy(), h, rtol=1e-12)


def test_rows_at_different_counts_keep_their_own_time() -> None:
    cell = ClockworkRNNCell(3, 7, (1, 2, 4)).double()
    x = torch.randn(4, 9, 3, dtype=torch.float64)
    start = cell.initial_state(4)
    start = start._replace(steps=torch.tensor([[0.0], [1.0], [2.0], [3.0]]).double())
    lengths = torch.tensor([9, 4, 0, 7])
    y, state = unroll(cell, x, start, lengths=lengths)
    expected, expected_state = unroll_plain(cell, x, start, lengths=lengths)
    torch.testing.assert_close((y, *state), (expected, *expected_state), rtol=1e-12, atol=1e-12)
    assert state.steps.flatten().tolist() == [1, 1, 2, 2]


def test_a_slow_module_does_not_read_the_faster_ones() -> None:
    cell = ClockworkRNNCell(3, 4, (1, 2))
    for how in (unroll, unroll_plain):
        y, _ = how(cell, torch.randn(2, 6, 3))
        (gradient,) = torch.autograd.grad(y.square().sum(), cell.weight_hh)
        assert not gradient[2:, :2].any()
        assert gradient[:2].abs().min() > 0 and gradient[2:, 2:].abs().min() > 0
        assert torch.equal(y[:, 0, 2:], y[:, 1, 2:])  # it holds
        assert not torch.equal(y[:, 0, :2], y[:, 1, :2])


def test_a_reset_starts_the_clock_anew() -> None:
    cell = ClockworkRNNCell(3, 4, (1, 4))
    x = torch.randn(1, 6, 3)
    reset = torch.tensor([[False, False, False, True, False, False]])
    torch.testing.assert_close(unroll(cell, x, reset=reset)[0][:, 3:], unroll(cell, x[:, 3:])[0])


def test_fewer_units_than_periods() -> None:
    assert ClockworkRNNCell(3, 2).periods == (1, 2)
    assert ClockworkRNNCell(3, 10).period.tolist() == [1, 1, 1, 2, 2, 2, 4, 4, 8, 8]


@pytest.mark.parametrize("periods", [(), (0, 1), (1, 1), (4, 2)])
def test_periods_that_do_not_rise_are_refused(periods: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="periods rise from at least 1, got"):
        ClockworkRNNCell(3, 4, periods)


def test_the_plan_names_the_kernel() -> None:
    assert plan(ClockworkRNNCell(3, 4)) == (
        "ClockworkRNNCell(3 -> 4): ATen's RNN loop for each module over its own steps, "
        "whole sequences at once"
    )


def test_what_is_not_finite_stays_where_it_is_read() -> None:
    cell = ClockworkRNNCell(3, 8, (1, 2, 4)).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    state = cell.initial_state(2)
    state.h[0, 1] = torch.nan  # of the fastest module, which no other reads
    found, expected = (how(cell, x, state) for how in (unroll_plain, unroll))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True)
    y, begin = unroll_plain(cell, x, state)[0], torch.zeros(2, 8).double()
    assert y[0, :, :3].isnan().all() and y[0, :, 3:].isfinite().all() and y[1].isfinite().all()
    with torch.no_grad():
        cell.weight_hh[5:, :3] = torch.inf  # below the diagonal, which nothing reads
    leaf = begin.requires_grad_()
    for how in (unroll, unroll_plain):
        (gradient,) = torch.autograd.grad(how(cell, x, state._replace(h=leaf))[0].sum(), leaf)
        assert gradient.isfinite().all() and gradient.any()
