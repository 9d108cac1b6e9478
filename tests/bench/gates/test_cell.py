"""The LSTM with parts left out, against equations transcribed, and against the whole cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra.bench.gates.cell import SUMS, AblatedLSTMCell, AblatedLSTMState
from recurra.errors import ConfigError
from recurra.nn.cells.coupled_lstm import CoupledLSTMCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.contract.suite import check
from recurra.nn.unroll import plan, unroll, unroll_plain

B, T, I, H = 2, 5, 3, 4  # noqa: E741


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def greff(
    variant: str, x: np.ndarray, h: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Greff et al. 2017, section IV, without peepholes: each gate in a sum of its own."""
    letters = SUMS[variant]

    def net(letter: str) -> np.ndarray:
        at = slice(letters.index(letter) * H, (letters.index(letter) + 1) * H)
        return x @ p["weight_ih"][at].T + h @ p["weight_hh"][at].T + p["bias"][at]

    z = net("g") if variant == "no_input_activation" else np.tanh(net("g"))
    f = np.ones_like(c) if variant == "no_forget_gate" else logistic(net("f"))
    if variant == "coupled":
        i = 1 - f
    else:
        i = np.ones_like(c) if variant == "no_input_gate" else logistic(net("i"))
    c = z * i + c * f
    o = np.ones_like(c) if variant == "no_output_gate" else logistic(net("o"))
    return o * (c if variant == "no_output_activation" else np.tanh(c)), c


@pytest.mark.parametrize("variant", [each for each in SUMS if each != "peepholes"])
def test_equations(variant: str) -> None:
    torch.manual_seed(1)
    cell = AblatedLSTMCell(I, H, variant).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    assert p["weight_ih"].shape == (len(SUMS[variant]) * H, I)
    x = torch.randn(B, T, I, dtype=torch.float64)
    h, c = np.random.default_rng(0).normal(size=(2, B, H))
    state = start = AblatedLSTMState(torch.from_numpy(h), torch.from_numpy(c))
    for t in range(T):
        h, c = greff(variant, x[:, t].numpy(), h, c, p)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
    y, state = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)


@pytest.mark.parametrize(
    ("variant", "kind"),
    [("whole", LSTMCell), ("coupled", CoupledLSTMCell), ("peepholes", PeepholeLSTMCell)],
)
def test_it_is_the_package_s_cell_where_there_is_one(variant: str, kind: type) -> None:
    torch.manual_seed(1)
    cell, known = AblatedLSTMCell(I, H, variant), kind(I, H)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh"):
            known.get_parameter(name).copy_(getattr(cell, name))
        known.bias_ih.copy_(cell.bias)
        known.bias_hh.zero_()
        if variant == "peepholes":
            for letter, row in zip("ifo", cell.peephole):
                getattr(known, f"peephole_{letter}").copy_(row)
    x = torch.randn(B, T, I)
    (y, state), (expected, end) = unroll(cell, x), unroll_plain(known, x)
    torch.testing.assert_close((y, *state), (expected, *end))


def test_a_forget_gate_starts_open_where_there_is_one() -> None:
    for variant, sums in SUMS.items():
        cells = [AblatedLSTMCell(I, H, variant, forget_bias=bias) for bias in (0.0, 5.0)]
        plain, open_ = (cell.bias.detach().reshape(len(sums), H) for cell in cells)
        for n, letter in enumerate(sums):
            assert plain[n].abs().max() <= H**-0.5
            assert (open_[n] > 4).all() == (letter == "f")


def test_it_keeps_the_contract() -> None:
    found = check(lambda inputs, units: AblatedLSTMCell(inputs, units, "peepholes"))
    assert found.ok, found.failures


def test_another_variant_is_refused_and_what_runs_is_said() -> None:
    with pytest.raises(ConfigError, match=r"got 'no_forget_gat'\. Did you mean 'no_forget_gate'"):
        AblatedLSTMCell(I, H, "no_forget_gat")
    said = plan(AblatedLSTMCell(I, H))
    assert "a loop behind one product of all inputs, as no compiled kernel leaves out" in said
