from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError, RunError
from recurra.nn.cells import CELLS
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.state import flatten
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.zoneout import Zoneout

RELATIVES = ["lstm", "peephole_lstm", "coupled_lstm", "layer_norm_lstm"]
LENGTHS = torch.tensor([6, 0, 3, 1])
RESET = torch.tensor(
    [[0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 1]]
).bool()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def krueger(
    x: np.ndarray,
    h: np.ndarray,
    c: np.ndarray,
    p: dict[str, np.ndarray],
    d: tuple[np.ndarray | float, np.ndarray | float],
) -> tuple[np.ndarray, np.ndarray]:
    """Krueger et al. 2017, equations 3-5: d_h and d_c are 1 where a unit keeps its value."""
    d_h, d_c = d
    net = x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]
    i, f, g, o = np.split(net, 4, axis=1)
    proposed = logistic(f) * c + logistic(i) * np.tanh(g)
    new_c = d_c * c + (1 - d_c) * proposed
    new_h = d_h * h + (1 - d_h) * (logistic(o) * np.tanh(proposed))
    return new_h, new_c


@pytest.mark.parametrize("training", [True, False])
def test_equations(training: bool) -> None:
    cell = Zoneout(LSTMCell(3, 4), hidden=0.3, memory=0.6).double().train(training)
    p = {n.removeprefix("cells.0."): v.detach().numpy() for n, v in cell.named_parameters()}
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h, c = np.random.default_rng(0).normal(size=(2, 2, 4))
    start = LSTMState(torch.from_numpy(h), torch.from_numpy(c))
    keep_h: np.ndarray = np.full((2, 5, 4), 0.3)
    keep_c: np.ndarray = np.full((2, 5, 4), 0.6)
    if training:
        masks = Masks(seeded(), 5)
        like = torch.zeros(2, 1, 4, dtype=torch.float64)
        keep_h = (masks.get(cell, "h", like, 0.3, False) == 0).double().numpy()
        keep_c = (masks.get(cell, "c", like, 0.6, False) == 0).double().numpy()
    ys = []
    for t in range(5):
        h, c = krueger(x[:, t].numpy(), h, c, p, (keep_h[:, t], keep_c[:, t]))
        ys.append(h)
    for how in (unroll, unroll_plain):
        y, state = how(cell, x, start, generator=seeded())
        np.testing.assert_allclose(y.detach().numpy(), np.stack(ys, axis=1), rtol=1e-11)
        np.testing.assert_allclose(state.c.detach().numpy(), c, rtol=1e-11)


def test_units_keep_their_value_as_often_as_asked() -> None:
    cell = Zoneout(LSTMCell(3, 500), hidden=0.2, memory=0.7)
    before = LSTMState(*torch.randn(2, 20, 500))
    y, after = cell(torch.randn(20, 3), before, seeded())
    assert torch.equal(y, after.h)
    for old, new, p in ((before.h, after.h, 0.2), (before.c, after.c, 0.7)):
        share = (old == new).float().mean().item()
        assert abs(share - p) < 5 * (p * (1 - p) / 10_000) ** 0.5


def test_the_two_masks_and_the_steps_are_drawn_apart() -> None:
    cell = Zoneout(LSTMCell(3, 400), hidden=0.5, memory=0.5)
    start = LSTMState(*torch.randn(2, 1, 400))
    x = torch.randn(1, 2, 3)
    y, _ = unroll(cell, x, start, generator=seeded())
    _, after = unroll(cell, x[:, :1], start, generator=seeded())
    first, second = y[:, 0] == start.h, y[:, 1] == y[:, 0]
    for a, b in ((first, second), (after.h == start.h, after.c == start.c)):
        assert 0.3 < (a == b).float().mean() < 0.7


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", RELATIVES)
@pytest.mark.parametrize("p", [(0.3, 0.5), (0.3, 0.0), (0.0, 0.5)])
def test_the_kernel_equals_the_plain_loop(
    name: str, p: tuple[float, float], training: bool
) -> None:
    cell = Zoneout(CELLS[name](3, 4), *p).double().train(training)
    assert "compiled LSTM with zoneout, whole sequences" in plan(cell)
    x = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    for options in (
        {},
        {"lengths": LENGTHS},
        {"reset": RESET},
        {"lengths": LENGTHS, "reset": RESET},
    ):
        results = []
        for how in (unroll, unroll_plain):
            y, state = how(cell, x, generator=seeded(), **options)
            loss = y.sin().sum() + state.h.cos().sum() + (state.c**2).sum()
            gradients = torch.autograd.grad(loss, [x, *cell.parameters()])
            results.append([y, *state, *gradients])
        torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


def test_the_expectation_of_training_is_evaluation_for_one_step() -> None:
    cell = Zoneout(LSTMCell(3, 4), hidden=0.3, memory=0.6).double()
    many = 40_000
    x = torch.randn(1, 3, dtype=torch.float64)
    state = LSTMState(*torch.randn(2, 1, 4, dtype=torch.float64))
    rows = LSTMState(*(part.expand(many, 4) for part in state))
    _, drawn = cell(x.expand(many, 3), rows, seeded())
    _, expected = cell.eval()(x, state)
    for each, mean in zip(drawn, expected, strict=True):
        torch.testing.assert_close(each.mean(0, keepdim=True), mean, atol=0.02, rtol=0)


NESTS: dict[str, Callable[[], Recurrence]] = {
    "gru": lambda: Zoneout(GRUCell(3, 4), hidden=0.4),
    "sru": lambda: Zoneout(CELLS["sru"](3, 4), memory=0.4),
    "qrnn": lambda: Zoneout(CELLS["qrnn"](3, 4), memory=0.4),
    "slstm": lambda: Zoneout(CELLS["slstm"](3, 4), hidden=0.4),
    "clockwork": lambda: Zoneout(CELLS["clockwork_rnn"](3, 4), hidden=0.4),
    "own step": lambda: Zoneout(CELLS["own_cells:PeepholeCell"](3, 4), 0.4, 0.3),
    "projected": lambda: Zoneout(CELLS["projected_lstm"](3, 4), 0.4, 0.3),
    "stack": lambda: Zoneout(Stack([LSTMCell(3, 5), LSTMCell(5, 4)]), 0.4, 0.3),
    "within a stack": lambda: Stack([Zoneout(LSTMCell(3, 3), 0.4, 0.3), LSTMCell(3, 4)]),
    "residual": lambda: Residual(Zoneout(LSTMCell(3, 3), 0.4, 0.3)),
    "around a residual": lambda: Zoneout(Residual(LSTMCell(3, 3)), 0.4, 0.3),
    "with dropout": lambda: Zoneout(
        Dropout(LSTMCell(3, 4), input=0.2, output=0.2, state=0.2), 0.4, 0.3
    ),
    "twice": lambda: Zoneout(Zoneout(LSTMCell(3, 4), 0.2, 0.2), 0.4, 0.3),
    "bidirectional": lambda: Bidirectional(
        Zoneout(LSTMCell(3, 2), 0.4, 0.3), Zoneout(GRUCell(3, 2), 0.4)
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", NESTS.values(), ids=NESTS)
def test_any_nesting(make: Callable[[], Recurrence], training: bool) -> None:
    cell = make().double().train(training)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    for options in ({}, {"lengths": LENGTHS}, {"lengths": LENGTHS, "reset": RESET}):
        y, state = unroll(cell, x, generator=seeded(), **options)
        plain, end = unroll_plain(cell, x, generator=seeded(), **options)
        torch.testing.assert_close((y, flatten(state)), (plain, flatten(end)))
        assert y.shape == (4, 6, cell.output_size)
    if not training and not isinstance(cell, Bidirectional):
        state, ys = cell.initial_state(4), []
        for t in range(6):
            y, state = cell(x[:, t], state)
            ys.append(y)
        torch.testing.assert_close(torch.stack(ys, dim=1), unroll(cell, x)[0])


def test_an_output_that_is_part_of_the_state_is_zoned_out_with_it() -> None:
    cell = Zoneout(Stack([LSTMCell(3, 5), GRUCell(5, 4)]), hidden=0.5)
    y, (first, second) = cell(torch.randn(2, 3), cell.initial_state(2), seeded())
    assert torch.equal(y, second.h) and (second.h == 0).any() and (first.h == 0).any()
    outer = Zoneout(Residual(LSTMCell(3, 3)), hidden=0.5)
    x = torch.randn(2, 3)
    y, after = outer(x, outer.initial_state(2), seeded())
    assert not torch.equal(y - x, after.h)


def test_probabilities_of_zero_are_what_is_wrapped_on_its_own_kernel() -> None:
    cell = Zoneout(LSTMCell(3, 4))
    assert cell.stepwise() is None and plan(cell).endswith("whole sequences at once")
    x = torch.randn(2, 5, 3)
    assert torch.equal(unroll(cell, x)[0], unroll(cell.inner(), x)[0])


def test_no_other_step_is_run_on_the_kernel() -> None:
    class Louder(LSTMCell):
        def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
            return super().forward(2 * x, state)

    watched = LSTMCell(3, 4)
    calls: list[int] = []
    watched.register_forward_hook(lambda *_: calls.append(1))
    for inner in (Louder(3, 4), watched, GRUCell(3, 4)):
        cell = Zoneout(inner, 0.3)
        assert "the plain loop: zoneout acts between steps" in plan(cell)
        assert cell.fused(torch.zeros(1), None) is None
    unroll(Zoneout(watched, 0.3), torch.randn(2, 5, 3), generator=seeded())
    assert len(calls) == 5
    cell = Zoneout(LSTMCell(3, 4), 0.3)
    assert cell.fused(torch.zeros(1).half(), None) is None


def test_a_hook_on_the_cell_changes_no_number() -> None:
    inner, x = LSTMCell(3, 4), torch.randn(2, 5, 3, requires_grad=True)
    cell = Zoneout(inner, 0.3, 0.2)
    expected, _ = unroll(cell, x, generator=seeded())
    inner.register_full_backward_hook(lambda *_: None)
    y, after = unroll(cell, x, generator=seeded())
    torch.testing.assert_close(y, expected)
    assert torch.equal(y[:, -1], after.h)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Zoneout(GRUCell(3, 4), memory=0.1), "memory= keeps units of c, .* GRUCell is h;"),
        (lambda: Zoneout(CELLS["sru"](3, 4), 0.1), "hidden= keeps units of h, .* SRUCell is c;"),
        (lambda: Zoneout(CELLS["qrnn"](3, 4), 0.1), "hidden= keeps units of h, .* is c, x;"),
        (lambda: Zoneout(CELLS["lru"](3, 4), 0.1), "hidden= keeps units of h, .* is real, imag;"),
        (lambda: Zoneout(CELLS["lru"](3, 4), 0, 0.1), "memory= keeps units of c, .* real, imag;"),
        (lambda: Zoneout(CELLS["rwkv"](3, 4), 0.1), "hidden= keeps units of h, .* is x, c, m;"),
        (lambda: Zoneout(CELLS["rwkv"](3, 4), 0, 0.1), "x, c, m of RWKVCell is in the scale of m"),
        (lambda: Zoneout(CELLS["slstm"](3, 4), 0, 0.1), "h, c, m of SLSTMCell is in the scale"),
        (lambda: Zoneout(CELLS["mlstm"](3, 4), 0, 0.1), "c, n, m of MLSTMCell is in the scale"),
        (lambda: Zoneout(Stack([LSTMCell(3, 4), GRUCell(4, 4)]), 0, 0.1), "GRUCell is h;"),
        (lambda: Zoneout(Attention(LSTMCell(3, 4)), 0.1), "WindowAttention is memory, filled;"),
        (
            lambda: Zoneout(Residual(Dilated(LSTMCell(3, 3))), 0.1),
            r"Dilated is those of several steps, .* put it inside, Dilated\(Zoneout\(cell\)\)",
        ),
    ],
    ids=range(12),
)
def test_what_it_cannot_act_on_is_refused(make: Callable[[], Recurrence], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^Zoneout: .*{message}"):
        make()


def test_inside_a_dilation_units_keep_what_they_held_that_many_steps_before() -> None:
    cell = Dilated(Zoneout(LSTMCell(3, 50), hidden=0.5), 3)
    y, _ = unroll(cell, torch.randn(2, 7, 3), generator=seeded())
    kept = y[:, 3:] == y[:, :-3]
    assert 0.4 < kept.float().mean() < 0.6
    assert not (y[:, 1:] == y[:, :-1]).logical_and(y[:, 1:] != 0).any()


def test_faults() -> None:
    for options in ({"hidden": 1.0}, {"memory": -0.1}, {"hidden": float("nan")}):
        with pytest.raises(ConfigError, match=r"Zoneout: \w+ is a probability in \[0, 1\), got"):
            Zoneout(LSTMCell(3, 4), **options)
    for how in (unroll, unroll_plain):
        with pytest.raises(RunError, match=r"^Zoneout in .* pass generator=torch.Generator\(\)"):
            how(Zoneout(LSTMCell(3, 4), 0.3), torch.zeros(2, 5, 3))
    assert "hidden=0.3, memory=0.0" in str(Zoneout(LSTMCell(3, 4), 0.3))


def test_what_autocast_has_narrowed_is_mixed_with_what_it_has_not() -> None:
    cell = Zoneout(CELLS["rnn"](3, 4), 0.3).eval()
    x = torch.randn(2, 5, 3)
    expected, _ = unroll_plain(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = unroll_plain(cell, x)
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.02)
