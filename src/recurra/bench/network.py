"""The network that every cell stands in, and the width at which it has so many parameters.

B rows, T steps, d units of the stream, h units of a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.bench.tasks.base import Task
from recurra.errors import ConfigError, RecurraError
from recurra.nn.make import make_cell, require_cell
from recurra.nn.state import State, flatten
from recurra.nn.unroll import unroll
from recurra.nn.width import Widths
from recurra.randomness import derive_seed, generator

__all__ = [
    "LAYERS",
    "STREAM",
    "TOLERANCE",
    "TaskNetwork",
    "made",
    "parameters_of",
    "state_numbers",
    "widths",
]

LAYERS = 2
STREAM = 32
"""d."""
TOLERANCE = 0.02
"""How far from the wanted number of parameters a network may be, as a share of it."""
MADE = "a cell is made of input_size and output_size, the rest by default"
NEARBY = 16
"""Widths on either side of the best that are looked at."""


class TaskNetwork(nn.Module):
    """Two layers of a cell between an embedding and a linear read-out.

        u = E x                                       tokens; or W x + b, numbers
        u = u + P gelu(cell(norm(u))) + p             twice
        y = W norm(u) + b                             where the task reads

    Everything but the cells is the same for all; `norm` is layer normalisation. The cells are
    what acts between steps, the rest acts within one: a linear recurrence needs it, and no
    other is hurt by it.

    Shapes: x `(B, T)` or `(B, T, F)`, y `(B, R, O)`.

    Args:
        cell: a name of CELLS, module:Name or module:function, with options or without.
        task: gives the sizes.
        widths: h of each layer.
        seed: of the weights.

    Raises:
        ConfigError: no cell is named so, or it is not made as `Cell(input_size, output_size)`.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> network = TaskNetwork("gru", Adding(), (4, 5), seed=1)
        >>> network(torch.zeros(3, 50, 2))[0].shape
        torch.Size([3, 1, 1])
    """

    def __init__(self, cell: str, task: Task, widths: Sequence[int], seed: int) -> None:
        super().__init__()
        self.read = task.read
        self.tokens = task.tokens
        with torch.random.fork_rng(devices=[]):  # what a cell draws of itself is never drawn over
            torch.manual_seed(derive_seed(seed, "bench weights"))
            self.cells: Any = nn.ModuleList(made(cell, width) for width in widths)
            size = task.features if task.tokens is None else task.tokens
            self.inward: Any = (nn.Linear if task.tokens is None else nn.Embedding)(size, STREAM)
            self.norms = nn.ModuleList(nn.LayerNorm(STREAM) for _ in range(len(widths) + 1))
            outputs = (each.output_size for each in list[Any](self.cells))
            self.projections: Any = nn.ModuleList(nn.Linear(h, STREAM) for h in outputs)
            self.head = nn.Linear(STREAM, task.outputs)
        self._draw(generator(seed, "bench weights"))

    def _draw(self, draws: torch.Generator) -> None:
        for part in (self.inward, *self.projections, self.head):
            bound = STREAM**-0.5 if isinstance(part, nn.Embedding) else part.in_features**-0.5
            for parameter in part.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=draws)

    def forward(self, x: Tensor, states: Sequence[State] | None = None) -> tuple[Tensor, State]:
        """Return what is read out of whole sequences, and the state of each layer.

        Args:
            x: `(B, T)` tokens or `(B, T, F)` numbers.
            states: of the layers before the first step; their initial ones.
        """
        u = self.inward(x)
        after = []
        for n, (cell, norm, project) in enumerate(zip(self.cells, self.norms, self.projections)):
            y, state = unroll(cell, norm(u), None if states is None else states[n])
            u = u + project(F.gelu(y))
            after.append(state)
        if self.read is not None:
            u = u[:, -self.read :]
        y = self.head(self.norms[-1](u))
        return y, tuple(after)

    def step(self, x: Tensor, states: Sequence[State]) -> tuple[Tensor, State]:
        """Take one step.

        Args:
            x: `(B,)` tokens or `(B, F)` numbers.
            states: of the layers.
        """
        u = self.inward(x)
        after = []
        layers = zip(self.cells, self.norms, self.projections, states)
        for cell, norm, project, state in layers:
            y, state = cell(norm(u), state)
            u = u + project(F.gelu(y))
            after.append(state)
        y = self.head(self.norms[-1](u))
        return y, tuple(after)

    def initial_state(self, batch_size: int = 1) -> State:
        """Return the state of each layer before the first step.

        Args:
            batch_size: B.
        """
        return tuple(cell.initial_state(batch_size) for cell in self.cells)


def made(cell: str, width: int) -> Any:
    """Return a cell of d inputs and h units.

    Args:
        cell: a name of CELLS, module:Name or module:function, with options or without.
        width: h.

    Raises:
        ConfigError: it is not made so.
    """
    try:
        return _plainly_made(cell, width)
    except RecurraError:
        raise  # a width it does not take, say
    except Exception as error:
        name, _, options = cell.rstrip(")").partition("(")
        call = ", ".join(filter(None, (f"{STREAM}, {width}", options)))
        raise ConfigError(
            f"{cell} cannot be compared: {name}({call}) ends in {error!r}; {MADE}"
        ) from error


def _plainly_made(cell: str, width: int) -> Any:
    found = make_cell(cell, STREAM, width)
    found.input_size, found.output_size  # noqa: B018
    return found


def state_numbers(network: TaskNetwork) -> int:
    """Return how many numbers a stream carries from step to step, in all layers; complex: two.

    Args:
        network: which.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> [state_numbers(TaskNetwork(cell, Adding(), (8, 8), seed=1)) for cell in ("lstm", "gru")]
        [32, 16]
    """
    parts = flatten(network.initial_state(1)).values()
    return sum(part.numel() * (1 + part.is_complex()) for part in parts)


def parameters_of(module: nn.Module) -> int:
    """Return how many numbers a module learns.

    Args:
        module: any.

    Example:
        >>> parameters_of(nn.Linear(2, 3))
        9
    """
    return sum(each.numel() for each in module.parameters() if each.requires_grad)


def widths(cell: str, task: Task) -> tuple[int, int]:
    """Return the widths of the two layers at which the network has the task's parameters.

    The two are as near each other as the number allows, since a unit more in both is often more
    than a fiftieth.

    Args:
        cell: a name of CELLS, module:Name or module:function, with options or without.
        task: which.

    Raises:
        ConfigError: no widths come within a fiftieth.

    Example:
        >>> from recurra.bench.tasks.adding import Adding
        >>> widths("lstm", Adding())
        (40, 39)
    """
    require_cell(cell)

    def layer(width: int) -> int:
        """Return the parameters of a layer but its norm."""
        core = _plainly_made(cell, width)
        return parameters_of(core) + int(core.output_size + 1) * STREAM

    rest = _parameters_around(task)
    wanted = task.parameters - rest
    taken = Widths(layer)
    most = taken.nearest(int, wanted / LAYERS)
    if most is None:
        raise ConfigError(f"{cell} cannot be compared: {taken.refusal()}; {MADE}")
    near = range(max(1, most - NEARBY), most + NEARBY + 1)
    known = {width: count for width in near if (count := taken.at(width)) is not None}
    pairs = [(a, b) for a in known for b in known if a >= b]
    best = min(pairs, key=lambda pair: _cost(pair, known, wanted, task.parameters))
    off = (rest + known[best[0]] + known[best[1]]) / task.parameters - 1
    if abs(off) > TOLERANCE:
        few = f"; it takes {', '.join(map(str, known))} alone" if len(known) < len(near) else ""
        raise ConfigError(
            f"{cell} cannot be compared: no widths near {best} bring the network within "
            f"{TOLERANCE:.0%} of {task.parameters:,} parameters; the nearest is {off:+.1%}{few}"
        )
    return best


def _parameters_around(task: Task) -> int:
    size = task.features + 1 if task.tokens is None else task.tokens
    return STREAM * (size + task.outputs) + task.outputs + (LAYERS + 1) * 2 * STREAM


def _cost(
    pair: tuple[int, int], known: dict[int, int], wanted: int, all_: int
) -> tuple[bool, int, int]:
    """Order pairs: first those within half the tolerance, then the most equal, then the nearest."""
    off = abs(known[pair[0]] + known[pair[1]] - wanted)
    return off > all_ * TOLERANCE / 2, pair[0] - pair[1], off
