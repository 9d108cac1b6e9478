"""An LSTM of a single unit whose gates can be watched: it remembers a bit until it is reset.

Inputs: a value, a flag to write it, a flag to reset. Where neither flag is up the value is noise.
Target: the bit that was last written (-1 or 1), 0 after a reset and before any was. One unit can do
it in one way only: open the input gate to write, close the forget gate to erase, and otherwise
keep the one shut and the other open.

B rows, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError
from recurra.nn.cells.base import gates_of
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.unroll import unroll
from recurra.randomness import generator
from recurra.work import worked_on

__all__ = ["Watched", "gates", "sequences"]

BATCH, LENGTH, LEARNING_RATE, INIT_SCALE = 32, 30, 0.1, 0.3
EVENTS = "..+....-......0...-..0..+..."
"""What is shown: + and - are written, 0 resets, a dot is noise."""
BRACKETS = {"(": "+", ")": "0"}
"""What words of a sentence do; every other one is noise."""


@dataclass(frozen=True)
class Watched:
    """What went in, what each gate did, and what came out, step by step.

    Args:
        inputs: `value`, `write` and `reset`, each with T numbers.
        gates: i, f, g and o, each with T numbers.
        states: `c` and `h` after each step.
        output: what the network says.
        target: what it should say.
        means: `write`, `hold`, `reset` -> the mean of each gate over such steps of fresh sequences.
        accuracy: the share of those sequences' steps where the output, rounded, is right.
        losses: mean squared error of every training step.
    """

    inputs: dict[str, list[float]]
    gates: dict[str, list[float]]
    states: dict[str, list[float]]
    output: list[float]
    target: list[float]
    means: dict[str, dict[str, float]]
    accuracy: float
    losses: list[float]


def gates(steps: int = 400, *, seed: int = 1, text: str | None = None) -> Watched:
    """Train the unit, a second or two, and return what its gates do on one sequence.

    Args:
        steps: of Adam, on fresh sequences each.
        seed: of weights and sequences.
        text: a sentence to be shown, word by word, in the place of bits that are written: `(`
            writes a 1, `)` resets, and every other word is noise.

    Raises:
        ConfigError: the text has no words.

    Source: Hochreiter & Schmidhuber 1997, section 5.4 (there without resets); Gers, Schmidhuber
        & Cummins 2000 for the forget gate, which resets.

    Example:
        >>> watched = gates(steps=2)
        >>> list(watched.gates), len(watched.output) == len(EVENTS)
        (['i', 'f', 'g', 'o'], True)
    """
    events = EVENTS if text is None else "".join(BRACKETS.get(w, ".") for w in text.split())
    if not events:
        raise ConfigError("a sentence is shown word by word, and this one has none")
    cell, read = LSTMCell(3, 1), nn.Linear(1, 1)
    draws = generator(seed, "gates weights")
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, -INIT_SCALE, INIT_SCALE, generator=draws)
    cell.add_forget_bias(1.0)
    nn.init.ones_(read.weight)  # so that the sign of c is that of the bit
    nn.init.zeros_(read.bias)
    losses = _train(cell, read, steps, seed)
    x, target = _shown(seed, events)
    inside, output = _look(cell, read, x)
    fresh, expected = sequences(200, 2 * LENGTH, generator(seed, "gates test"))
    fresh_inside, said = _look(cell, read, fresh)
    return Watched(
        dict(zip(("value", "write", "reset"), x[0].T.tolist())),
        {name: inside[name][0].tolist() for name in "ifgo"},
        {name: inside[name][0].tolist() for name in "ch"},
        output[0].tolist(),
        target[0].tolist(),
        _means(fresh, fresh_inside),
        float((said.round() == expected).double().mean()),
        losses,
    )


def sequences(batch_size: int, length: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return inputs `(B, T, 3)` and targets `(B, T)`: 1/8 of the steps write, 1/12 reset.

    Args:
        batch_size: B.
        length: T.
        draws: where they come from.

    Example:
        >>> x, target = sequences(2, 5, torch.Generator())
        >>> x.shape, target.shape
        (torch.Size([2, 5, 3]), torch.Size([2, 5]))
    """
    shape = (batch_size, length)
    chance = torch.rand(shape, generator=draws)
    write, reset = chance < 1 / 8, chance > 1 - 1 / 12
    bit = torch.randint(0, 2, shape, generator=draws) * 2.0 - 1
    noise = torch.rand(shape, generator=draws) * 2 - 1
    value = torch.where(write, bit, noise)
    return torch.stack([value, write.float(), reset.float()], dim=2), _targets(value, write, reset)


def _targets(value: Tensor, write: Tensor, reset: Tensor) -> Tensor:
    held, targets = torch.zeros(len(value)), []
    for t in range(value.shape[1]):
        held = torch.where(write[:, t], value[:, t], held).masked_fill(reset[:, t], 0)
        targets.append(held)
    return torch.stack(targets, dim=1)


def _shown(seed: int, events: str) -> tuple[Tensor, Tensor]:
    noise = torch.rand(len(events), generator=generator(seed, "gates shown")) * 2 - 1
    written = {"+": 1.0, "-": -1.0}
    value = torch.tensor([[written.get(e, float(n)) for e, n in zip(events, noise)]])
    write = torch.tensor([[event in written for event in events]])
    reset = torch.tensor([[event == "0" for event in events]])
    return torch.stack([value, write.float(), reset.float()], dim=2), _targets(value, write, reset)


def _train(cell: LSTMCell, read: nn.Linear, steps: int, seed: int) -> list[float]:
    parameters = [*cell.parameters(), *read.parameters()]
    adam = torch.optim.Adam(parameters)
    losses = []
    for step in worked_on(range(steps), "training", "steps"):
        x, target = sequences(BATCH, LENGTH, generator(seed, "gates", step=step))
        h, _ = unroll(cell, x)
        loss = F.mse_loss(read(h)[:, :, 0], target)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        adam.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def _look(cell: LSTMCell, read: nn.Linear, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return i, f, g, o, c and h, each `(B, T)`, and the outputs `(B, T)`."""
    state = cell.initial_state(len(x))
    steps = []
    for t in range(x.shape[1]):
        opened = gates_of(cell, x[:, t], state)
        _, state = cell(x[:, t], state)
        steps.append({**opened, "c": state.c, "h": state.h})
    inside = {name: torch.cat([step[name] for step in steps], dim=1) for name in steps[0]}
    return inside, read(inside["h"].unsqueeze(2))[:, :, 0]


def _means(x: Tensor, inside: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    write, reset = x[:, :, 1] > 0, x[:, :, 2] > 0
    kinds = {"write": write, "hold": ~(write | reset), "reset": reset}
    return {
        kind: {name: float(inside[name][mask].mean()) for name in "ifgo"}
        for kind, mask in kinds.items()
    }
