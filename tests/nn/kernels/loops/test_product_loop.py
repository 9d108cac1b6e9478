from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from recurra.nn.cells.base import Cell
from recurra.nn.cells.recurrent_highway import RecurrentHighwayCell
from recurra.nn.cells.slstm import SLSTMCell
from recurra.nn.kernels.compiler import compiled
from recurra.nn.kernels.loops import highway, slstm
from recurra.nn.unroll import unroll

CELLS: dict[str, Callable[[int, int], Cell]] = {
    "sLSTM": SLSTMCell,
    "heads": partial(SLSTMCell, num_heads=3),
    "exponential": partial(SLSTMCell, forget="exponential"),
    "highway": RecurrentHighwayCell,
    "one layer": partial(RecurrentHighwayCell, depth=1),
}


@pytest.mark.parametrize("name", list(CELLS))
def test_half_precision_is_for_the_loop(name: str) -> None:
    cell = CELLS[name](3, 6).bfloat16()
    x = torch.randn(2, 3, 3).bfloat16()
    kernel = cell.kernel(x)
    assert kernel.name.startswith("a loop behind one product of all inputs, as")  # type: ignore[union-attr]
    assert unroll(cell, x)[0].dtype == torch.bfloat16
    alike = CELLS[name](3, 6)
    alike.load_state_dict(cell.state_dict())
    torch.testing.assert_close(
        unroll(cell, x)[0].float(), unroll(alike, x.float())[0], rtol=0.1, atol=0.1
    )


def test_the_cache_of_compiled_code_tells_the_loops_apart() -> None:
    loops = slstm._slstm, highway._highway
    assert len({compiled._mark(loop.forward) for loop in loops}) == 2
