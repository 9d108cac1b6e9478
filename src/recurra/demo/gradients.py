"""How much of a gradient comes back through k steps: the vanishing gradient, measured.

    norm(k) = || d h_T / d x_{T-k} ||_F        k = 0, 1, 2, ...

of fresh cells as they are usually initialised, in float64. Every factor d h_{t+1} / d h_t that lies
on the way multiplies it, so that it falls, or grows, by a rate to the power of k.

H units, I inputs, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.nn.cells.base import Cell
from recurra.nn.make import keeps_own_start, make_cell
from recurra.nn.unroll import unroll
from recurra.randomness import generator
from recurra.work import worked_on

__all__ = ["GradientNorms", "gradients", "jacobian_norms"]

CASES = {
    "rnn": "rnn",
    "gru": "gru",
    "lstm": "lstm",
    "lstm_forget_bias_3": "lstm(forget_bias=3.0)",
}
"""What is compared -> the cell as it is written; an LSTM's forget bias is 1 by itself."""

WARM_UP = 20
"""Steps before the first input whose gradient is taken, so that no state is that of zeros."""


@dataclass(frozen=True)
class GradientNorms:
    """Norms by distance, for each kind of cell.

    Args:
        distances: 0, 1, 2, ... steps between an input and the output it acts on.
        norms: kind of cell -> the geometric mean over networks, at each distance.
        lowest: the same for the network with the least.
        highest: the same for the network with the most.
        hidden_size: H of every cell.
        input_size: I.
        networks: how many of a kind were drawn, each with an input sequence of its own.
        parameters: kind of cell -> parameter -> the norm of the gradient of the last output's sum,
            the geometric mean over networks.
    """

    distances: list[int]
    norms: dict[str, list[float]]
    lowest: dict[str, list[float]]
    highest: dict[str, list[float]]
    hidden_size: int
    input_size: int
    networks: int
    parameters: dict[str, dict[str, float]]

    def falls_to(self, name: str, share: float) -> int | None:
        """Return the least distance where the norm is below a share of that at 0; None if none is.

        Args:
            name: kind of cell.
            share: as .5.

        Example:
            >>> norms = {"rnn": [8.0, 6.0, 3.0]}
            >>> GradientNorms([0, 1, 2], norms, norms, norms, 4, 2, 1, {}).falls_to("rnn", 0.5)
            2
        """
        norms = self.norms[name]
        below = (k for k, norm in zip(self.distances, norms) if norm < share * norms[0])
        return next(below, None)

    def rate(self, name: str) -> float:
        """Return the factor by which a step multiplies the norm, over the farther half.

        Args:
            name: kind of cell.
        """
        middle = len(self.distances) // 2
        steps = self.distances[-1] - self.distances[middle]
        norms = self.norms[name]
        return float((norms[-1] / norms[middle]) ** (1 / max(steps, 1)))


def gradients(
    distance: int = 100,
    *,
    hidden_size: int = 64,
    input_size: int = 16,
    networks: int = 8,
    seed: int = 1,
    cells: Sequence[str] = (),
) -> GradientNorms:
    """Return the norms for RNN, GRU, LSTM, and an LSTM that begins with open forget gates.

    Inputs are normal noise; weights are drawn as torch draws them, uniform in
    (-1/sqrt(H), 1/sqrt(H)), or begin as a cell of one's own does.

    Args:
        distance: the farthest.
        hidden_size: H.
        input_size: I.
        networks: of each kind.
        seed: of weights and inputs.
        cells: others in their place, as `make_cell` takes them.

    Source: Hochreiter 1991, "Untersuchungen zu dynamischen neuronalen Netzen", chapter 4; Bengio,
        Simard & Frasconi 1994, "Learning long-term dependencies with gradient descent is
        difficult"; Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent
        neural networks", section 2.

    Example:
        >>> found = gradients(10, hidden_size=8, input_size=2, networks=2)
        >>> found.norms["rnn"][10] < 0.1 * found.norms["lstm_forget_bias_3"][10]
        True
    """
    kinds = {each: each for each in cells} or CASES
    measured, learned = dict[str, NDArray[np.float64]](), dict[str, dict[str, float]]()
    for name, spec in kinds.items():
        numbers = worked_on(range(networks), f"measuring {name}", "networks")
        each = [_one_network(spec, distance, hidden_size, input_size, seed, n) for n in numbers]
        measured[name] = np.array([norms for norms, _ in each])
        learned[name] = {key: _mean([found[key] for _, found in each]) for key in each[0][1]}
    with np.errstate(divide="ignore"):  # of a cell that forgets all, nothing comes back
        means = {
            name: np.exp(np.log(each).mean(axis=0)).tolist() for name, each in measured.items()
        }
    return GradientNorms(
        list(range(distance + 1)),
        means,
        {name: each.min(axis=0).tolist() for name, each in measured.items()},
        {name: each.max(axis=0).tolist() for name, each in measured.items()},
        hidden_size,
        input_size,
        networks,
        learned,
    )


def _mean(norms: list[float]) -> float:
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(norms).mean()))


def _one_network(
    spec: str, distance: int, hidden_size: int, input_size: int, seed: int, number: int
) -> tuple[NDArray[np.float64], dict[str, float]]:
    # the same stream for every kind: they differ by their equations, not by luck
    weights = generator(seed, "gradients weights", step=number)
    cell = make_cell(spec, input_size, hidden_size, generator=weights)
    if not keeps_own_start(spec):
        cell.reset_parameters(weights)
    cell.double()
    draws = generator(seed, "gradients inputs", step=number)
    x = torch.randn(WARM_UP + distance + 1, input_size, generator=draws, dtype=torch.float64)
    norms = jacobian_norms(cell, x)[: distance + 1]
    named = {name: each for name, each in cell.named_parameters() if each.requires_grad}
    last = unroll(cell, x.unsqueeze(0))[0][:, -1].sum()
    found = torch.autograd.grad(
        last, list(named.values()), allow_unused=True, materialize_grads=True
    )
    return norms, {
        name: float(each.abs().square().sum().sqrt()) for name, each in zip(named, found)
    }


def jacobian_norms(cell: Cell, x: Tensor) -> NDArray[np.float64]:
    """Return `(T,)`: the Frobenius norm of d y_T / d x_{T-k} for k = 0 ... T - 1.

    One backward pass gives the whole Jacobian: row j of a batch of H copies is asked for the
    gradient of unit j.

    Args:
        cell: any cell, from its initial state.
        x: `(T, I)`.

    Example:
        >>> cell = make_cell("rnn", 1, 1)
        >>> _ = cell.weight_ih.data.fill_(0.5), cell.weight_hh.data.fill_(0.1)
        >>> _ = cell.bias_ih.data.zero_(), cell.bias_hh.data.zero_()
        >>> jacobian_norms(cell, torch.zeros(3, 1)).round(4).tolist()
        [0.5, 0.05, 0.005]
    """
    copies = x.expand(cell.output_size, *x.shape).clone().requires_grad_()
    y, _ = unroll(cell, copies)
    (rows,) = torch.autograd.grad(y[:, -1].diagonal().sum(), copies)
    norms: NDArray[np.float64] = rows.square().sum(dim=(0, 2)).sqrt().flip(0).double().numpy()
    return norms
