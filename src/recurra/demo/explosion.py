"""A gradient that explodes, and what clipping makes of it: a plain network with large weights.

    norm(k) = || d h_T / d x_{T-k} ||_F        grows with k
    g_clipped = g min(1, c / ||g||)            the same direction, c long at most

B rows, T steps, H units, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.demo.gradients import WARM_UP, jacobian_norms
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.randomness import generator

__all__ = ["Descent", "Explosion", "Moved", "explosion"]

HIDDEN, INPUT, ROWS = 64, 16, 20


@dataclass(frozen=True)
class Moved:
    """A step of descent.

    Args:
        gradient_norm: of all weights' gradient, as the step is taken by it.
        step_norm: how far the weights move.
        loss: after it, on the same sequences, mean squared error.
    """

    gradient_norm: float
    step_norm: float
    loss: float


@dataclass(frozen=True)
class Descent:
    """One step of training, as it would have been and as it is.

    Args:
        steps: T of the sequences.
        learning_rate: of plain descent.
        clip_norm: c.
        weight_norm: of all weights, before the step.
        loss: before the step, mean squared error.
        unclipped: the step by the gradient as it is.
        clipped: the step by the clipped gradient.
    """

    steps: int
    learning_rate: float
    clip_norm: float
    weight_norm: float
    loss: float
    unclipped: Moved
    clipped: Moved


@dataclass(frozen=True)
class Explosion:
    """A network whose gradients grow, and one step of its training.

    Args:
        times: what the recurrent weights of a usual network were multiplied by.
        spectral_radius: of the recurrent weights then.
        norms: of d h_T / d x_(T-k) for k = 0, 1, 2, ...
        rate: the factor by which a step multiplies that norm, over the farther half.
        training: the step.
    """

    times: float
    spectral_radius: float
    norms: list[float]
    rate: float
    training: Descent


def explosion(
    distance: int = 100,
    *,
    times: float = 4.0,
    steps: int = 35,
    learning_rate: float = 1.0,
    clip_norm: float = 5.0,
    seed: int = 1,
) -> Explosion:
    """Return the norms of one network, and what one step of plain descent does to it.

    It is asked, after T steps, for the mean of each row's inputs; in float64.

    Args:
        distance: the farthest that norms are taken over.
        times: what the recurrent weights are multiplied by.
        steps: T of the step of training.
        learning_rate: of it; 1 in the tutorial.
        clip_norm: most that the gradient's norm may be; 5 in the tutorial.
        seed: of weights and sequences.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural
        networks", sections 2 and 3.2, algorithm 1.

    Example:
        >>> found = explosion(20)
        >>> found.norms[20] > found.norms[0], round(found.training.clipped.gradient_norm, 6)
        (True, 5.0)
    """
    cell, read = _network(times, generator(seed, "explosion weights"))
    radius = float(torch.linalg.eigvals(cell.weight_hh.detach()).abs().max())
    draws = generator(seed, "explosion inputs")
    alone = torch.randn(WARM_UP + distance + 1, INPUT, generator=draws, dtype=torch.float64)
    norms = jacobian_norms(cell, alone)[: distance + 1]
    middle = distance // 2
    rate = float((norms[-1] / norms[middle]) ** (1 / max(distance - middle, 1)))
    x = torch.randn(ROWS, steps, INPUT, generator=draws, dtype=torch.float64)
    training = _one_step(cell, read, x, learning_rate, clip_norm)
    return Explosion(times, radius, norms.tolist(), rate, training)


def _network(times: float, draws: torch.Generator) -> tuple[RNNCell, nn.Linear]:
    cell, read = RNNCell(INPUT, HIDDEN), nn.Linear(HIDDEN, 1)
    cell.reset_parameters(draws)
    for parameter in read.parameters():
        nn.init.uniform_(parameter, -(HIDDEN**-0.5), HIDDEN**-0.5, generator=draws)
    cell.weight_hh.data.mul_(times)
    return cell.double(), read.double()


def _one_step(
    cell: RNNCell, read: nn.Linear, x: Tensor, learning_rate: float, clip_norm: float
) -> Descent:
    """Return a step of descent, clipped and not, each from the same weights."""
    parameters = [*cell.parameters(), *read.parameters()]
    begun = [parameter.detach().clone() for parameter in parameters]
    loss = _loss(cell, read, x)
    gradients = torch.autograd.grad(loss, parameters)
    norm, moved = _norm(gradients), []
    for share in (1.0, min(1.0, clip_norm / norm)):
        with torch.no_grad():
            for parameter, start, gradient in zip(parameters, begun, gradients):
                parameter.copy_(start - learning_rate * share * gradient)
            after = float(_loss(cell, read, x))
        moved.append(Moved(norm * share, learning_rate * norm * share, after))
    before = float(loss.detach())
    return Descent(x.shape[1], learning_rate, clip_norm, _norm(begun), before, *moved)


def _loss(cell: RNNCell, read: nn.Linear, x: Tensor) -> Tensor:
    said = read(unroll(cell, x)[0][:, -1])[:, 0]
    return F.mse_loss(said, x.mean((1, 2)))


def _norm(tensors: tuple[Tensor, ...] | list[Tensor]) -> float:
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())
