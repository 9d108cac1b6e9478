"""A kernel of someone's own is held once against its step, before anything is made of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.nn.cells.base import Kernel
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.state import State
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.base import Pass, Wrapper
from recurra.nn.wrappers.masks import Masks
from recurra.nn.wrappers.stack import Stack

sys.path.append(str(Path(__file__).parent / "contract"))
from broken_cells import BROKEN, WithKernel

WRONG = {
    "a kernel of 1.1 times the outputs": r"y is off by 0\.\d+ \(B = 2, T = 3, float32\)",
    "a kernel that heeds no lengths": r"the last state.h is off by .*lengths 3 and 1",
    "a kernel that starts at zero": "y is off",
    "a kernel without the weights' gradient": "the gradient of weight is off",
    "a kernel without the state's gradient": "the gradient of the first state.h is off",
    "a kernel that raises": r"its kernel raises at B = 2, T = 3, .*broken_cells\.py:\d+",
}


def test_a_thousandth_is_no_rounding() -> None:
    class Nearly(WithKernel):
        def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            y, after = super().run(x, state, lengths)
            return 1.001 * y, after

    with pytest.raises(ConfigError, match=r"its kernel does not do what its step does: y is off"):
        unroll(Nearly(3, 4), torch.randn(2, 3, 3))


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_kernel_is_refused_with_the_difference(what: str) -> None:
    cell = BROKEN[what][0](3, 4)
    x = torch.randn(5, 7, 3)
    for _ in range(2):
        with pytest.raises(ConfigError, match=WRONG[what]):
            unroll(cell, x)
    unroll_plain(cell, x)
    with pytest.raises(ConfigError, match=WRONG[what]):
        unroll(Stack([GRUCell(2, 3), cell]), torch.randn(1, 9, 2))


def test_a_sound_kernel_is_tried_once_for_each_dtype_and_setting() -> None:
    runs: list[torch.dtype] = []

    class Own(WithKernel):
        def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            runs.append(x.dtype)
            return super().run(x, state, lengths)

    cell, x = Own(3, 4), torch.randn(2, 5, 3)
    for n in range(3):
        unroll(cell, x)
        assert len(runs) == 3 + n
    unroll(Own(3, 4), x)
    assert len(runs) == 6
    unroll(Own(3, 6), x)
    assert len(runs) == 9
    unroll(cell.double(), x.double())
    assert runs[9:] == [torch.float64] * 3
    plan(cell, x.double())
    assert len(runs) == 12


def test_it_costs_little() -> None:
    class Large(WithKernel):
        pass

    cell, x = Large(256, 256), torch.randn(2, 5, 256)
    unroll_plain(cell, x)
    begun = time.perf_counter()
    unroll(cell, x)
    assert time.perf_counter() - begun < 1


def test_an_inherited_kernel_is_tried_too() -> None:
    class Halved(LSTMCell):
        """It changes what its step and the inherited kernel both read, in one of them alone."""

        def kernel(self, x: Tensor) -> Kernel | str:
            found = super().kernel(x)
            if isinstance(found, str):
                return found
            return Kernel(found.name, lambda x, state, lengths: found.run(x / 2, state, lengths))

    class Chrono(LSTMCell):
        pass

    unroll(Chrono(3, 4), torch.randn(2, 3, 3))
    with pytest.raises(ConfigError, match="Halved: its kernel does not do what its step does: y"):
        unroll(Halved(3, 4), torch.randn(2, 3, 3))


def test_under_no_grad_it_is_tried_forward() -> None:
    class Cut(WithKernel):
        def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            with torch.no_grad():
                return super().run(x, state, lengths)

    cell, x = Cut(3, 4), torch.randn(2, 3, 3)
    with torch.no_grad():
        unroll(cell, x)
    with torch.inference_mode():
        unroll(cell, x)
    with pytest.raises(ConfigError, match="the gradient of x is off"):
        unroll(cell, x)


def test_under_autocast_it_runs_in_the_dtype_of_its_weights() -> None:
    kinds: list[torch.dtype] = []

    class Own(WithKernel):
        def run(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            y, after = super().run(x, state, lengths)
            kinds.append(y.dtype)
            y.detach().numpy()  # as who hands it to other code does; of bfloat16 there is none
            return y, after

    cell = Stack([GRUCell(3, 3), nn_linear(3, Own(3, 4))])
    x = torch.randn(2, 5, 3)
    expected = unroll(cell, x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = unroll(cell, x)[0]
        assert "a loop of one's own, in float32 under autocast" in plan(Own(3, 4), x)
    y.sum().backward()
    assert {*kinds} == {torch.float32}
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)


def nn_linear(size: int, cell: Any) -> Wrapper:
    """A cell behind a layer of torch, whose outputs autocast makes bfloat16."""

    class Behind(Wrapper):
        def __init__(self) -> None:
            super().__init__([cell])
            self.layer = nn.Linear(size, size)

        def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
            return run(self.inner(), self.layer(x), state)

    return Behind()


class Doubled(Wrapper):
    """Steps of the wrapped cell, twice as large; `factor` is what its kernel makes of it."""

    factor = 2.0

    def __init__(self, cell: Any) -> None:
        super().__init__([cell])

    def through(self, x: Tensor, state: State, run: Pass) -> tuple[Tensor, State]:
        y, state = run(self.inner(), x, state)
        return 2 * y, state

    def stepwise(self) -> str | None:
        return "it acts between steps"

    def fused(self, x: Tensor, masks: Masks | None, start: int = 0) -> Kernel | None:
        def run(x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            y, after = unroll_plain(self.inner(), x, state, lengths=lengths)
            return self.factor * y, after

        return Kernel("its own loop", run)


def test_a_wrappers_own_kernel_is_held_against_its_steps() -> None:
    class Tripled(Doubled):
        factor = 3.0

    x = torch.randn(2, 5, 3)
    y, _ = unroll(Doubled(GRUCell(3, 4)), x)
    assert y.shape == (2, 5, 4)
    with pytest.raises(ConfigError, match="Tripled: its kernel does not do what its step does"):
        unroll(Tripled(GRUCell(3, 4)), x)


def test_where_nothing_is_computed_nothing_is_tried() -> None:
    cell = BROKEN["a kernel of 1.1 times the outputs"][0](3, 4)
    y, _ = unroll(cell.to("meta"), torch.empty(2, 3, 3, device="meta"))
    assert y.is_meta
