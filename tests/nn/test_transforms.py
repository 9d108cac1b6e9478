"""Cells and wrappers are modules like any: a seeded part of SUBJECTS x TRANSFORMS.

`make campaign transforms` runs all of it, and inductor on every cell and wrapper.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch

from recurra.nn.cells import CELLS

sys.path.append(str(Path(__file__).parent))
from torch_transforms import BY_INDUCTOR, SUBJECTS, TRANSFORMS, subject

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # torch's own
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # dynamo asks for it
]


@pytest.fixture(autouse=True)
def _no_graph_of_another_test() -> None:
    torch._dynamo.reset()


LONG = {"compile", "compile, plain inputs", "any shape", "export"} | {
    what for what in TRANSFORMS if "second" in what
}


def part() -> list[tuple[str, str]]:
    """All of an LSTM, the quick of a GRU; a graph and one more of each; few of what is long."""
    drawn = random.Random(17)
    quick = sorted(set(TRANSFORMS) - LONG)
    one_of_two = [
        drawn.choice(pair) for pair in zip(SUBJECTS[len(CELLS) :: 2], SUBJECTS[len(CELLS) + 1 :: 2])
    ]
    names = [*CELLS, *one_of_two]
    few = [(name, long) for long in sorted(LONG - {"compile"}) for name in drawn.sample(names, 2)]
    every = [(name, what) for name in names for what in ("compile", drawn.choice(quick))]
    whole = [("lstm", what) for what in TRANSFORMS] + [("gru", what) for what in quick]
    return sorted({*few, *every, *whole})


@pytest.mark.parametrize(("name", "transform"), part())
def test_a_recurrence_is_a_module_like_any(name: str, transform: str) -> None:
    TRANSFORMS[transform](subject(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_inductor_has_one_graph_of_it(name: str) -> None:
    BY_INDUCTOR["inductor"](subject(name))
