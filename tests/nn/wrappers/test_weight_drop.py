from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import remove_parametrizations

from recurra.errors import ConfigError, RunError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.state import flatten
from recurra.nn.unroll import plan, unroll
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack
from recurra.nn.wrappers.weight_drop import WeightDrop

I, H, B, T = 3, 5, 2, 7  # noqa: E741
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def seeded(seed: int = 9) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(size: int = I) -> Tensor:
    return torch.randn(B, T, size, dtype=torch.float64)


# Against torch's own LSTM with its weights dropped by hand


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_gradients_reach_the_raw_weights_through_the_mask(p: float) -> None:
    cell, x = WeightDrop(LSTMCell(I, H), p).double(), inputs()
    y, state = unroll(cell, x, generator=seeded())
    wanted = torch.randn_like(y)
    (y * wanted).sum().backward()

    inner = cell.inner()
    mask = dropout_mask((4 * H, H), p, seeded(), torch.float64)
    twin = nn.LSTM(I, H, batch_first=True).double()
    dropped = {f"{name}_l0": getattr(inner, name).detach().clone() for name in NAMES}
    dropped["weight_hh_l0"] *= mask
    twin.load_state_dict(dropped)
    expected, (_, c) = twin(x)
    (expected * wanted).sum().backward()

    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state.c, c[0])
    for name in NAMES:
        of_dropped = getattr(twin, f"{name}_l0").grad
        of_raw = getattr(inner, name).grad
        torch.testing.assert_close(of_raw, of_dropped * (mask if name == "weight_hh" else 1))
    assert inner.weight_hh.grad is not None
    assert torch.equal(inner.weight_hh.grad == 0, mask == 0)


def test_the_vendors_kernel_is_kept() -> None:
    bare, cell = LSTMCell(I, H), WeightDrop(LSTMCell(I, H), 0.5)
    first, second = plan(cell).splitlines()
    assert first == "WeightDrop(3 -> 5): around whole sequences"
    assert second.strip() == plan(bare)
    assert "LSTM, whole sequences at once" in second


def test_one_mask_serves_all_steps_and_each_unroll_draws_anew() -> None:
    cell, x = WeightDrop(GRUCell(I, H), 0.5).double(), inputs()
    generator = seeded()
    first, _ = unroll(cell, x, generator=generator)
    second, _ = unroll(cell, x, generator=generator)
    assert not torch.equal(first, second)
    stepped, state = [], cell.initial_state(B)
    masked = GRUCell(I, H).double()
    masked.load_state_dict(cell.inner().state_dict())
    with torch.no_grad():
        masked.weight_hh *= dropout_mask((3 * H, H), 0.5, seeded(), torch.float64)
    for t in range(T):
        y, state = masked(x[:, t], state)
        stepped.append(y)
    torch.testing.assert_close(first, torch.stack(stepped, 1))


def test_a_step_draws_for_itself() -> None:
    cell, x = WeightDrop(GRUCell(I, H), 0.5).double(), inputs()
    h = torch.randn(B, H, dtype=torch.float64)
    state = cell.initial_state(B)._replace(h=h)
    y, _ = cell(x[:, 0], state, seeded())
    whole, _ = unroll(cell, x[:, :1], state, generator=seeded())
    torch.testing.assert_close(y, whole[:, 0])
    assert not torch.equal(y, cell(x[:, 0], state, seeded(1))[0])


def test_the_share_that_is_dropped() -> None:
    cell = WeightDrop(LSTMCell(1, 200), 0.3)
    nn.init.ones_(cell.inner().weight_hh)
    y, _ = unroll(cell, torch.ones(1, 3, 1), generator=seeded())
    (gradient,) = torch.autograd.grad(y.sum(), cell.inner().weight_hh)
    dropped = (gradient == 0).double().mean()
    assert float(dropped) == pytest.approx(0.3, abs=0.005)


# What is wrapped stays as it is


def test_in_evaluation_nothing_is_dropped_and_no_generator_needed() -> None:
    cell, x = WeightDrop(LSTMCell(I, H), 0.5).double(), inputs()
    with pytest.raises(RunError, match="draws its masks from a generator"):
        unroll(cell, x)
    asleep = unroll(cell.eval(), x)[0]
    assert torch.equal(asleep, unroll(cell.inner(), x)[0])
    nothing = WeightDrop(LSTMCell(I, H), 0.0).double()
    assert torch.equal(unroll(nothing, x)[0], unroll(nothing.inner(), x)[0])


def test_nothing_is_written_to_what_is_wrapped() -> None:
    stack = Stack([LSTMCell(I, H), Dropout(LSTMCell(H, H), output=0.2)])
    cell = WeightDrop(stack, 0.5).double()
    kept = {name: tensor.clone() for name, tensor in cell.state_dict().items()}
    places = {name: id(parameter) for name, parameter in cell.named_parameters()}
    unroll(cell, inputs(), generator=seeded())[0].sum().backward()
    assert {name: id(parameter) for name, parameter in cell.named_parameters()} == places
    for name, tensor in cell.state_dict().items():
        assert torch.equal(tensor, kept[name])
    assert list(kept) == [f"cells.0.{name}" for name in stack.state_dict()]


def test_unrolls_side_by_side_do_not_see_each_other() -> None:
    cell = WeightDrop(Stack([LSTMCell(I, 20), GRUCell(20, 20)]), 0.5).double()
    x = inputs()

    def run(seed: int) -> Tensor:
        return unroll(cell, x, generator=seeded(seed))[0].detach()

    alone = [run(seed) for seed in range(12)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(run, range(12)))
    for one, same in zip(alone, together, strict=True):
        assert torch.equal(one, same)


def test_weights_given_for_one_call_are_those_that_are_dropped() -> None:
    cell, x = WeightDrop(LSTMCell(I, H), 0.5).double(), inputs()
    given = {name: torch.randn_like(tensor) for name, tensor in cell.named_parameters()}
    twin = WeightDrop(LSTMCell(I, H), 0.5).double()
    twin.load_state_dict(given)

    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor) -> Tensor:
            return unroll(self.cell, x, generator=seeded())[0]

    named = {f"cell.{name}": tensor for name, tensor in given.items()}
    found = torch.func.functional_call(Unrolled(), named, (x,))
    torch.testing.assert_close(found, unroll(twin, x, generator=seeded())[0])


# Nesting


def nests() -> dict[str, Any]:
    return {
        "stack": lambda drop: Stack([drop(LSTMCell(I, H)), drop(LSTMCell(H, H))]),
        "inside dropout": lambda drop: Dropout(drop(LSTMCell(I, H)), input=0.2, output=0.3),
        "both directions": lambda drop: Bidirectional(drop(GRUCell(I, H)), drop(GRUCell(I, H))),
    }


@pytest.mark.parametrize("name", nests())
def test_in_any_nest_its_masks_are_drawn_as_it_is_reached(name: str) -> None:
    """The same nest with its weights dropped beforehand, in its order, gives the same."""
    cell = nests()[name](lambda inner: WeightDrop(inner, 0.5)).double()
    bare = nests()[name](lambda inner: inner).double()
    for part in (*cell.modules(), *bare.modules()):
        if isinstance(part, Dropout):
            part.input = part.output = 0.0
    generator, x = seeded(), inputs()
    raw = [tensor.clone() for tensor in cell.state_dict().values()]
    masked = dict(zip(bare.state_dict(), raw, strict=True))
    for key in masked:
        if key.endswith("weight_hh"):
            masked[key] *= dropout_mask(masked[key].shape, 0.5, generator, torch.float64)
    bare.load_state_dict(masked)
    found, state = unroll(cell, x, generator=seeded())
    expected, expected_state = unroll(bare, x)
    torch.testing.assert_close(found, expected)
    for place, tensor in flatten(expected_state).items():
        torch.testing.assert_close(flatten(state)[place], tensor)


def test_around_a_stack_it_drops_the_weights_of_every_layer() -> None:
    outside = WeightDrop(Stack([LSTMCell(I, H), GRUCell(H, 4)]), 0.5).double()
    inside = Stack([WeightDrop(LSTMCell(I, H), 0.5), WeightDrop(GRUCell(H, 4), 0.5)]).double()
    inside.load_state_dict(dict(zip(inside.state_dict(), outside.state_dict().values())))
    x = inputs()
    torch.testing.assert_close(
        unroll(outside, x, generator=seeded())[0], unroll(inside, x, generator=seeded())[0]
    )


# Settings


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_probabilities_are_of_dropping(p: float) -> None:
    with pytest.raises(
        ConfigError, match=r"WeightDrop: probability is a probability in \[0, 1\), got"
    ):
        WeightDrop(LSTMCell(I, H), p)


def test_a_name_that_no_parameter_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="no parameter of LSTMCell is named weight_hx or hh; "):
        WeightDrop(LSTMCell(I, H), 0.5, ["weight_hx", "hh"])


def test_other_weights_can_be_named() -> None:
    cell, x = WeightDrop(LSTMCell(I, H), 0.5, ["weight_ih", "weight_hh"]).double(), inputs()
    y, _ = unroll(cell, x, generator=seeded())
    gradients = torch.autograd.grad(y.sum(), (cell.inner().weight_ih, cell.inner().weight_hh))
    for gradient in gradients:
        assert 0.2 < float((gradient == 0).double().mean()) < 0.8
    assert "probability=0.5, names=('weight_ih', 'weight_hh')" in str(cell)


def test_one_name_is_a_list_of_it() -> None:
    for names in ("weight_hh", ["weight_hh"]):
        cell = WeightDrop(LSTMCell(3, 4), 0.5, names)
        assert cell.names == ("weight_hh",)
    with pytest.raises(ConfigError, match="no parameter of LSTMCell is named weight_h; name"):
        WeightDrop(LSTMCell(3, 4), 0.5, "weight_h")
    with pytest.raises(ConfigError, match="no parameter of LSTMCell is named ; name"):
        WeightDrop(LSTMCell(3, 4), 0.5, "")


def test_without_a_generator_it_names_itself() -> None:
    with pytest.raises(RunError, match=r"^WeightDrop in training mode draws its masks from"):
        unroll(WeightDrop(LSTMCell(3, 4), 0.5), torch.zeros(2, 5, 3))


def test_a_weight_that_two_layers_share_is_dropped_alike_in_both() -> None:
    lower, upper = LSTMCell(4, 4), LSTMCell(4, 4)
    upper.weight_hh = lower.weight_hh
    cell = WeightDrop(Stack([lower, upper]), 0.5)
    y, _ = unroll(cell, torch.ones(2, 5, 4), generator=torch.Generator().manual_seed(1))
    mask = dropout_mask((16, 4), 0.5, torch.Generator().manual_seed(1))
    with torch.no_grad():
        lower.weight_hh *= mask
    torch.testing.assert_close(y, unroll(cell.inner(), torch.ones(2, 5, 4))[0])


def test_a_step_that_would_read_what_is_not_dropped_is_refused() -> None:
    cell = LSTMCell(3, 4)
    cell.forward = cell.forward  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"forward of a LSTMCell is replaced .* in a subclass"):
        unroll(WeightDrop(cell, 0.5), torch.zeros(2, 5, 3), generator=torch.Generator())


@pytest.mark.parametrize("name", ["weight_hh", "weight_ih"])
def test_weights_that_others_make_are_refused(name: str) -> None:
    made = parametrizations.weight_norm(LSTMCell(3, 4), name)
    said = r"WeightDrop: weights of LSTMCell are parametrised, .*; remove_parametrizations of torch"
    with pytest.raises(ConfigError, match=said):
        WeightDrop(Stack([made, LSTMCell(4, 4)]), 0.5)
    cell = WeightDrop(LSTMCell(3, 4), 0.5)
    parametrizations.weight_norm(cell.inner(), name)
    with pytest.raises(ConfigError, match=said):
        unroll(cell, torch.zeros(2, 5, 3), generator=seeded())
    remove_parametrizations(cell.inner(), name)
    unroll(cell, torch.zeros(2, 5, 3), generator=seeded())
