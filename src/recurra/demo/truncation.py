"""What chunks cost: bits asked for again 3, 10 or 20 steps later, learned by chunks of 5, 20, 35.

A stream has a channel for each distance d. Now and then a bit is written into one, marked by a
flag; d steps later another flag asks for it, and till then the channel is noise. A chunk that does
not reach from the writing to the asking hands no gradient back to it, though the state is carried:
nothing tells the network to keep that bit, and saying it costs ln 2 = 0.693 nats.

B rows, T steps of a chunk, N of a stream, K distances.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.state import detach
from recurra.nn.unroll import unroll
from recurra.randomness import generator
from recurra.work import worked_on

__all__ = ["CHANCE", "DISTANCES", "Truncated", "streams", "truncation"]

DISTANCES = (3, 10, 20)
CHANCE = math.log(2)
"""What a bit costs, in nats, of which nothing is known."""

ROWS, UNITS, LEARNING_RATE, CLIP = 32, 32, 0.01, 1.0
LONGEST = 40
"""Steps that a unit of the fresh network remembers at most: chunks are to be judged, not starts."""

NOISE = 0.5
"""Most that a value is away from 0 where no bit is written."""

JUDGED = 1_000
"""Steps of a fresh stream that a network is judged on."""


@dataclass(frozen=True)
class Truncated:
    """What chunks of one length came to.

    Args:
        chunk_length: T.
        steps: of the optimizer.
        seconds: they took.
        losses: by distance in steps, as text, nats for each bit that was asked for: on a fresh
            stream, read with its state carried.
        loss: their mean.
        accuracies: by distance, the share of bits that were said rightly.
        reached: by distance, the share of the askings whose writing is in the same chunk.
    """

    chunk_length: int
    steps: int
    seconds: float
    losses: dict[str, float]
    loss: float
    accuracies: dict[str, float]
    reached: dict[str, float]


def truncation(
    chunk_lengths: Sequence[int] = (5, 20, 35), length: int = 14_000, *, seed: int = 1
) -> list[Truncated]:
    """Learn the same stream by chunks of each length, about 20 seconds, and return what it cost.

    Every length reads the same steps from the same initial weights, the state carried from chunk
    to chunk; short chunks update the weights the more often.

    Args:
        chunk_lengths: T of each training.
        length: N, steps of the stream that is learned from.
        seed: of weights and streams.

    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories"; the bits to be kept are those of Hochreiter & Schmidhuber
        1997, section 5.4; the cell's first biases those of Tallec & Ollivier 2018, "Can recurrent
        neural networks warp time?", equation 16.

    Example:
        >>> found = truncation((5, 20), length=40)
        >>> [(each.chunk_length, each.steps, each.reached["10"]) for each in found]
        [(5, 8, 0.0), (20, 2, 0.5)]
    """
    x, target, asked = streams(ROWS, length, generator(seed, "truncation"))
    fresh = streams(4 * ROWS, JUDGED, generator(seed, "truncation test"))
    found = []
    for T in chunk_lengths:
        cell, read = _network(seed)
        begun = time.perf_counter()
        _train(cell, read, (x, target, asked), T)
        seconds = time.perf_counter() - begun
        losses, accuracies = _judged(cell, read, fresh)
        reached = {str(d): max(0, T - d) / T for d in DISTANCES}
        mean = sum(losses.values()) / len(losses)
        found.append(Truncated(T, length // T, seconds, losses, mean, accuracies, reached))
    return found


def streams(rows: int, length: int, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs `(B, N, 3K)`, the bits that were written d steps ago, and which are asked for.

    Inputs are each channel's value, its flag to write, and its flag to ask.

    Shapes: the bits `(B, N, K)`, 0 or 1; asked for `(B, N, K)`, bool.

    Args:
        rows: B.
        length: N.
        draws: where they come from.

    Example:
        >>> x, target, asked = streams(2, 40, torch.Generator().manual_seed(1))
        >>> x.shape, bool((x[:, :-3, 0][asked[:, 3:, 0]].abs() == 1).all())
        (torch.Size([2, 40, 9]), True)
    """
    values, written, targets, asked = [], [], [], []
    for d in DISTANCES:
        write = _marks(rows, length, d, draws)
        ask = torch.zeros_like(write)
        ask[:, d:] = write[:, :-d]
        bit = torch.randint(0, 2, (rows, length), generator=draws).float()
        noise = NOISE * (torch.rand((rows, length), generator=draws) * 2 - 1)
        ago = torch.zeros_like(bit)
        ago[:, d:] = bit[:, :-d]
        values.append(torch.where(write, 2 * bit - 1, noise))
        written.append(write)
        targets.append(ago)
        asked.append(ask)
    flags = [each.float() for each in (*written, *asked)]
    return torch.stack([*values, *flags], 2), torch.stack(targets, 2), torch.stack(asked, 2)


def _marks(rows: int, length: int, distance: int, draws: torch.Generator) -> Tensor:
    """Return where bits are written `(B, N)`: one at a time, d + 1 to d + 10 steps apart."""
    most = length // (distance + 1) + 1
    gaps = torch.randint(distance + 1, distance + 11, (rows, most), generator=draws)
    first = torch.randint(0, distance + 1, (rows, 1), generator=draws)
    places = first + gaps.cumsum(1) - gaps[:, :1]
    marks = torch.zeros(rows, length + 1, dtype=torch.bool)
    return marks.scatter_(1, places.clamp_max(length), True)[:, :length]


def _network(seed: int) -> tuple[LSTMCell, nn.Linear]:
    draws, count = generator(seed, "truncation weights"), len(DISTANCES)
    cell, read = LSTMCell(3 * count, UNITS), nn.Linear(UNITS, count)
    cell.reset_parameters(draws)
    bias = torch.log(1 + (LONGEST - 2) * torch.rand(UNITS, generator=draws))
    with torch.no_grad():
        cell.bias_ih[:UNITS] = -bias  # what is kept for long is written seldom
        cell.bias_ih[UNITS : 2 * UNITS] = bias
        cell.bias_hh[: 2 * UNITS] = 0
    nn.init.uniform_(read.weight, -(UNITS**-0.5), UNITS**-0.5, generator=draws)
    nn.init.zeros_(read.bias)
    return cell, read


def _train(
    cell: LSTMCell, read: nn.Linear, stream: tuple[Tensor, Tensor, Tensor], chunk_length: int
) -> None:
    parameters = [*cell.parameters(), *read.parameters()]
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    state, T = cell.initial_state(ROWS), chunk_length
    for step in worked_on(range(stream[0].shape[1] // T), f"chunks of {T}", "steps"):
        x, target, asked = (part[:, step * T : (step + 1) * T] for part in stream)
        h, state = unroll(cell, x, state)
        state = detach(state)
        if not asked.any():
            continue
        weight = asked / asked.sum((0, 1)).clamp_min(
            1
        )  # distances count alike, though not as often
        losses = F.binary_cross_entropy_with_logits(read(h), target, weight, reduction="none")
        loss = losses.sum()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, CLIP)
        adam.step()


@torch.no_grad()
def _judged(
    cell: LSTMCell, read: nn.Linear, stream: tuple[Tensor, Tensor, Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return loss and accuracy by distance."""
    x, target, asked = stream
    said = read(unroll(cell, x)[0])
    losses, accuracies = {}, {}
    for n, d in enumerate(DISTANCES):
        here = asked[:, :, n]
        logits, bits = said[:, :, n][here], target[:, :, n][here]
        losses[str(d)] = float(F.binary_cross_entropy_with_logits(logits, bits))
        accuracies[str(d)] = float(((logits > 0) == (bits > 0.5)).double().mean())
    return losses, accuracies
