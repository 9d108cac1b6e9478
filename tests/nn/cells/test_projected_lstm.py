from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells import CELLS
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell, ProjectedLSTMState
from recurra.nn.unroll import plan, unroll


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def sak(
    x: np.ndarray, r: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray], clip: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Sak et al. 2014, section 2.2, without peepholes and non-recurrent projection."""
    net = x @ p["weight_ih"].T + p["bias_ih"] + r @ p["weight_hh"].T + p["bias_hh"]
    i, f, g, o = np.split(net, 4, axis=1)
    c = np.clip(logistic(f) * c + logistic(i) * np.tanh(g), -clip, clip)
    m = logistic(o) * np.tanh(c)
    return m @ p["weight_hr"].T, c


@pytest.mark.parametrize("clip", [None, 0.4])
def test_equations(clip: float | None) -> None:
    cell = ProjectedLSTMCell(3, 2, memory_size=4, cell_clip=clip).double()
    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    draws = np.random.default_rng(0)
    h, c = draws.normal(size=(2, 2)), draws.normal(size=(2, 4))
    state = start = ProjectedLSTMState(torch.from_numpy(h), torch.from_numpy(c))
    for t in range(5):
        h, c = sak(x[:, t].numpy(), h, c, p, clip or np.inf)
        y, state = cell(x[:, t], state)
        np.testing.assert_allclose(y.detach().numpy(), h, rtol=1e-12)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-12)
    y, state = unroll(cell, x, start)
    np.testing.assert_allclose(y[:, -1].detach().numpy(), h, rtol=1e-11)
    np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-11)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_torch_twin_with_the_same_weights() -> None:
    cell = ProjectedLSTMCell(3, 2, memory_size=4)
    twin = nn.LSTM(3, 4, proj_size=2, batch_first=True)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in twin.state_dict().items()})
    x, h, c = torch.randn(2, 7, 3), torch.randn(2, 2), torch.randn(2, 4)
    y, state = unroll(cell, x, ProjectedLSTMState(h, c))
    expected, (h_end, c_end) = twin(x, (h.unsqueeze(0), c.unsqueeze(0)))
    torch.testing.assert_close((y, *state), (expected, h_end[0], c_end[0]))


def test_by_its_name_the_memory_is_twice_as_wide_as_the_output() -> None:
    cell = CELLS["projected_lstm"](3, 5)
    state = cell.initial_state(2)
    assert (cell.output_size, state.h.shape, state.c.shape) == (5, (2, 5), (2, 10))
    assert cell.weight_hr.shape == (5, 10) and cell.weight_hh.shape == (40, 5)


def test_the_gates_make_the_state() -> None:
    cell = ProjectedLSTMCell(3, 2, memory_size=4)
    x, state = torch.randn(2, 3), ProjectedLSTMState(torch.randn(2, 2), torch.randn(2, 4))
    gates = cell.gates(x, state)
    assert list(gates) == ["i", "f", "g", "o"]
    y, after = cell(x, state)
    torch.testing.assert_close(after.c, gates["f"] * state.c + gates["i"] * gates["g"])
    torch.testing.assert_close(y, (gates["o"] * after.c.tanh()) @ cell.weight_hr.t())


def test_the_plan_names_the_kernel() -> None:
    assert plan(ProjectedLSTMCell(3, 2)) == (
        "ProjectedLSTMCell(3 -> 2): the compiled LSTM with a projection, whole sequences at once"
    )
    assert "the plain loop: compiled kernels are of" in plan(ProjectedLSTMCell(3, 2).half())


def test_faults() -> None:
    with pytest.raises(ConfigError, match="ProjectedLSTMCell: cell_clip is above 0 or None, got 0"):
        ProjectedLSTMCell(3, 2, cell_clip=0)
    with pytest.raises(ShapeError, match="memory_size is at least 1, got 0"):
        ProjectedLSTMCell(3, 2, memory_size=0)
    cell = ProjectedLSTMCell(3, 2, memory_size=4)
    with pytest.raises(ShapeError, match=r"state.c is \(1, 2\), expected \(1, 4\)"):
        cell(torch.zeros(1, 3), ProjectedLSTMState(torch.zeros(1, 2), torch.zeros(1, 2)))
