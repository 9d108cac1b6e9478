"""Dropout's masks, seen through a cell whose output is its state and whose state is its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError, RunError
from recurra.nn.cells import CELLS
from recurra.nn.cells.base import Cell
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.attention import Attention
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.dilated import Dilated
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack


class Pair(NamedTuple):
    h: Tensor
    second: Tensor


class Delay(Cell):
    """Its output is the h of its state; its state becomes its input, twice."""

    def initial_state(self, batch_size: int = 1, **where: object) -> Pair:
        ones = torch.ones(batch_size, self.input_size)
        return Pair(ones, ones.clone())

    def forward(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:
        return state.h, Pair(x, x)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dropped(p_input: float, p_output: float, p_state: float, variational: bool) -> Tensor:
    """What a Delay of ones in Dropout lets through, 0 or the product of the masks' scales."""
    cell = Dropout(
        Delay(50, 50), input=p_input, output=p_output, state=p_state, variational=variational
    )
    return unroll(cell, torch.ones(4, 6, 50), generator=seeded())[0]


@pytest.mark.parametrize("p", [(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)], ids=["input", "output", "state"])  # fmt: skip  # noqa: E501
def test_masks_differ_between_steps_or_serve_them_all(p: tuple[float, float, float]) -> None:
    y = dropped(*p, variational=False)[:, 1:]
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    assert all(not torch.equal(y[:, t], y[:, t + 1]) for t in range(4))
    y = dropped(*p, variational=True)[:, 1:]
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    assert all(torch.equal(y[:, t], y[:, 0]) for t in range(5))
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize("variational", [False, True])
def test_each_unroll_draws_anew(variational: bool) -> None:
    cell = Dropout(LSTMCell(3, 20), input=0.2, output=0.5, variational=variational)
    x = torch.randn(2, 5, 3)
    generator = seeded()
    first, second = (unroll(cell, x, generator=generator)[0] for _ in range(2))
    assert not torch.equal(first == 0, second == 0)
    assert torch.equal(unroll(cell, x, generator=seeded())[0], first)


def test_masks_come_from_the_generator_alone() -> None:
    cell = Dropout(Stack([GRUCell(3, 4)]), input=0.2, output=0.2, state=0.2)
    before = torch.get_rng_state()
    unroll(cell, torch.randn(2, 5, 3, generator=seeded()), generator=seeded())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("variational", [False, True])
def test_the_equation_by_hand(variational: bool) -> None:
    inner = LSTMCell(3, 4).double()
    cell = Dropout(inner, input=0.3, output=0.6, variational=variational)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    T = 1 if variational else 5
    generator = seeded()
    masks_in = dropout_mask((2, T, 3), 0.3, generator, torch.float64)
    masks_out = dropout_mask((2, T, 4), 0.6, generator, torch.float64)
    expected, after = unroll(inner, x * masks_in)
    y, state = unroll(cell, x, generator=seeded())
    assert torch.equal(y, expected * masks_out)
    assert torch.equal(state.c, after.c) and torch.equal(state.h, after.h)


@pytest.mark.parametrize("variational", [False, True])
def test_the_state_is_masked_on_the_way_in_and_returned_unmasked(variational: bool) -> None:
    inner = LSTMCell(3, 4).double()
    cell = Dropout(inner, state=0.4, variational=variational)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    masks = dropout_mask((2, 1 if variational else 5, 4), 0.4, seeded(), torch.float64)
    state = LSTMState(*torch.randn(2, 2, 4, dtype=torch.float64))
    y, after = unroll(cell, x, state, generator=seeded())
    for t in range(5):
        h = state.h * masks[:, 0 if variational else t]
        expected, state = inner(x[:, t], LSTMState(h, state.c))
        assert torch.equal(y[:, t], expected)
    assert torch.equal(after.h, state.h) and torch.equal(after.c, state.c)


def test_each_layer_inside_has_its_own_mask() -> None:
    lower, upper = LSTMCell(3, 50), LSTMCell(50, 50)
    cell = Dropout(Stack([lower, upper]), state=0.5)
    x = torch.randn(2, 3)
    state = tuple(LSTMState(*torch.randn(2, 2, 50)) for _ in range(2))
    y, _ = cell(x, state, seeded())
    generator = seeded()
    for layer, before in zip((lower, upper), state, strict=True):
        mask = dropout_mask((2, 1, 50), 0.5, generator)[:, 0]
        x, _ = layer(x, before._replace(h=before.h * mask))
    assert torch.equal(y, x)


def test_what_is_beside_h_is_left_alone() -> None:
    cell = Dropout(Delay(50, 50), state=0.5)
    y, after = cell(torch.ones(4, 50), cell.initial_state(4), seeded())
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(after.h, torch.ones(4, 50)) and torch.equal(after.second, after.h)


def test_a_state_that_is_one_tensor_is_its_own_h() -> None:
    class Bare(Delay):
        def initial_state(self, batch_size: int = 1, **where: object) -> Tensor:
            return torch.ones(batch_size, 50)

        def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return state, x

    cell = Dropout(Stack([Bare(50, 50), Bare(50, 50)]), state=0.5)
    y, _ = cell(torch.ones(4, 50), cell.initial_state(4), seeded())
    assert set(y.flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: CELLS["sru"](3, 4), "SRUCell is c"),
        (lambda: CELLS["mlstm"](3, 4), "MLSTMCell is c, n, m"),
        (lambda: CELLS["rwkv"](3, 4), "RWKVCell is x, c, m"),
        (lambda: CELLS["lru"](3, 4), "LRUCell is real, imag"),
        (lambda: Stack([GRUCell(3, 4), CELLS["qrnn"](4, 4)]), "QRNNCell is c, x"),
        (lambda: Attention(GRUCell(3, 4)), "WindowAttention is memory, filled"),
    ],
    ids=["sru", "mlstm", "rwkv", "lru", "one layer of two", "attention"],
)
def test_a_state_without_h_is_refused(make: Callable[[], Recurrence], parts: str) -> None:
    with pytest.raises(ConfigError, match=f"Dropout: state= drops units of h, and .* {parts}; wr"):
        Dropout(make(), state=0.5)
    assert Dropout(make(), input=0.5, output=0.5).output_size == 4


def test_around_states_of_several_steps_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"put it inside, Dilated\(Dropout\(cell\)\)"):
        Dropout(Residual(Dilated(GRUCell(3, 3), 2)), state=0.5)
    Dropout(Dilated(GRUCell(3, 3), 1), state=0.5)


def test_probabilities_are_named() -> None:
    with pytest.raises(TypeError, match="positional"):
        Dropout(GRUCell(3, 4), 0.5)  # type: ignore[misc]


def test_the_memory_of_a_layer_inside_is_never_masked() -> None:
    cell = Dropout(Stack([LSTMCell(3, 50)]), state=0.5)
    memory = torch.randn(4, 50)
    start = (LSTMState(torch.zeros(4, 50), memory),)
    (after,) = cell(torch.zeros(4, 3), start, seeded())[1]
    (expected,) = cell.eval()(torch.zeros(4, 3), start)[1]
    assert torch.equal(after.c, expected.c)


def test_evaluation_draws_none() -> None:
    inner = GRUCell(3, 4)
    cell = Dropout(inner, input=0.5, output=0.5, state=0.5).eval()
    x = torch.randn(2, 5, 3)
    generator = seeded()
    assert torch.equal(unroll(cell, x, generator=generator)[0], unroll(inner, x)[0])
    assert torch.equal(generator.get_state(), seeded().get_state())
    assert plan(cell).count("whole sequences at once") == 1


def test_training_needs_a_generator_only_where_something_is_dropped() -> None:
    x = torch.randn(2, 5, 3)
    for probabilities in ({"input": 0.5}, {"output": 0.5}, {"state": 0.5}):
        cell = Dropout(GRUCell(3, 4), **probabilities)
        for how in (unroll, unroll_plain):
            with pytest.raises(RunError, match="Dropout in training mode draws its masks"):
                how(cell, x)
        with pytest.raises(RunError, match="Dropout in training mode draws its masks"):
            cell(x[:, 0], cell.initial_state(2))
    assert unroll(Dropout(GRUCell(3, 4)), x)[0].shape == (2, 5, 4)


def test_the_mean_is_kept() -> None:
    assert dropped(0.3, 0.2, 0, False)[:, 1:].mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("place", ["input", "output", "state"])
@pytest.mark.parametrize("p", [-0.1, 1.1, 1.5, float("nan")])
def test_probabilities_are_of_dropping(place: str, p: float) -> None:
    with pytest.raises(ConfigError, match=rf"Dropout: {place} is a probability in \[0, 1\], got"):
        Dropout(GRUCell(3, 4), **{place: p})


@pytest.mark.parametrize("variational", [True, False])
def test_all_may_be_dropped(variational: bool) -> None:
    inner, x = GRUCell(3, 4), torch.randn(2, 5, 3)
    draw = torch.Generator().manual_seed(1)
    cell = Dropout(inner, output=1.0, variational=variational)
    y, _ = unroll(cell, x, generator=draw)
    y.sum().backward()
    assert not y.any() and all(not p.grad.any() for p in inner.parameters())
    y, _ = unroll(Dropout(inner, input=1, variational=variational), x, generator=draw)
    torch.testing.assert_close(y, unroll(inner, torch.zeros_like(x))[0])
    y, _ = unroll(Dropout(inner, state=1, variational=variational), x, generator=draw)
    torch.testing.assert_close(y[:, 3], inner(x[:, 3], inner.initial_state(2))[0])
    torch.testing.assert_close(unroll(cell.eval(), x)[0], unroll(inner, x)[0])


def test_the_printed_form_says_the_probabilities() -> None:
    cell = Dropout(GRUCell(3, 4), input=0.1, output=0.2, state=0.3, variational=True)
    assert "input=0.1, output=0.2, state=0.3, variational=True" in str(cell)


@pytest.mark.parametrize("options", [{"input": 0.5, "output": 0.5}, {"state": 0.5}])
def test_vmap_draws_what_a_loop_draws_or_for_each_of_its_rows(options: dict[str, float]) -> None:
    cell = Dropout(GRUCell(3, 4).double(), **options)
    x = torch.randn(3, 2, 5, 3, dtype=torch.float64)

    def drawn(randomness: str, x: torch.Tensor) -> torch.Tensor:
        masks = torch.Generator().manual_seed(1)
        run = torch.func.vmap(lambda x: unroll(cell, x, generator=masks)[0], randomness=randomness)
        return run(x)

    alone = [unroll(cell, each, generator=torch.Generator().manual_seed(1))[0] for each in x]
    torch.testing.assert_close(drawn("same", x), torch.stack(alone))
    one, other, _ = drawn("different", x[:1].expand(3, -1, -1, -1))
    assert not torch.allclose(one, other)
