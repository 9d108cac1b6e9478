"""The network over whole sequences: layers of one cell, their outputs pooled, a linear layer.

B rows, T steps, F features, P units of the last layer's output, O outputs, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.labels.options import LabelNetworkOptions
from recurra.labels.sequences import Ragged
from recurra.nn.make import keeps_own_start, make_cell
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack
from recurra.storage.finite import not_finite
from recurra.work import worked_on

__all__ = ["SequenceNetwork", "require_answers"]

ROWS = 256
"""Sequences that are predicted at once."""


class SequenceNetwork(nn.Module):
    """Sequences in, a vector each out: logits of classes, or numbers.

    The inputs' mean and deviation are part of it. What lies past a row's length reaches nothing.

    Shapes: `x (B, T, F)`, `lengths (B,)`; returns `(B, O)`; `mean (F,)`, `scale (F,)`.

    Args:
        options: cell, width, depth, pooling, regularisation, members.
        input_size: F.
        output_size: O.
        generator: where the initial weights come from; None leaves them arbitrary, for weights
            that are to be loaded. Torch's own generator is not moved either way.
        steps: T, which `kind="softmax"` asks for.

    Raises:
        ConfigError: for `kind="softmax"` without `steps`.

    Source: Graves & Schmidhuber 2005, "Framewise phoneme classification with bidirectional
        LSTM"; Raffel & Ellis 2015, "Feed-forward networks with attention", for the pooling.

    Example:
        >>> options = LabelNetworkOptions(hidden_size=8, members=2)
        >>> network = SequenceNetwork(options, 3, 5, torch.Generator().manual_seed(1))
        >>> network(torch.zeros(2, 7, 3), torch.tensor([7, 2])).shape
        torch.Size([2, 5])
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        options: LabelNetworkOptions,
        input_size: int,
        output_size: int,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        if options.kind == "softmax" and steps is None:
            raise ConfigError(
                "network.kind=softmax takes sequences of one length, these differ: "
                "use network.kind=recurrent"
            )
        if options.noise is None:
            raise ConfigError("network.noise is not set: a number is needed to make a network")
        self.options = options
        self.input_size = input_size
        self.output_size = output_size
        self.register_buffer("mean", torch.zeros(input_size))
        self.register_buffer("scale", torch.ones(input_size))
        with torch.random.fork_rng(devices=[]):  # cells draw from torch's own when they are made
            self.members = nn.ModuleList(
                _Flat(input_size * (steps or 1), output_size)
                if options.kind == "softmax"
                else _Recurrent(options, input_size, output_size, generator)
                for _ in range(options.members)
            )

    @torch.no_grad()
    def standardize(
        self,
        sequences: Sequence[NDArray[np.floating]],
        weights: NDArray[np.floating] | None = None,
    ) -> None:
        """Scale inputs from now on by these sequences' mean and standard deviation, per feature.

        A feature that is constant is only shifted. Nothing is done where the options say no.

        Args:
            sequences: arrays `(T_i, F)`, of the training split alone.
            weights: what each sequence counts; all the same by default.
        """
        if not self.options.standardize:
            return
        steps = np.concatenate([np.asarray(sequence, np.float64) for sequence in sequences])
        counts = [len(sequence) for sequence in sequences]
        each = np.ones(len(steps)) if weights is None else np.repeat(weights, counts)
        mean = np.average(steps, axis=0, weights=each)
        deviation = np.sqrt(np.average((steps - mean) ** 2, axis=0, weights=each))
        flat = deviation <= 1e-12 * np.abs(mean)  # rounding alone
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(np.where(flat, 1.0, deviation)))

    def outputs(
        self, x: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return every member's outputs, `(M, B, O)`.

        Args:
            x: `(B, T, F)`.
            lengths: `(B,)` int64, 1 ... T; T for all by default.
            generator: where noise and dropout masks come from, needed in training mode.

        Raises:
            ShapeError: for an input of another shape.
        """
        if x.dim() != 3 or x.shape[2] != self.input_size:
            raise ShapeError(
                f"expected sequences of shape (batch, steps, {self.input_size}), "
                f"got {tuple(x.shape)}"
            )
        x = (x - self.mean) / self.scale
        return torch.stack(
            [member(self._noisy(x, generator), lengths, generator) for member in self.members]
        )

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean of `outputs`, `(B, O)`: of logits, a geometric mean of probabilities."""
        return self.outputs(x, lengths, generator).mean(dim=0)

    def predict(self, sequences: Sequence[NDArray[np.floating]] | Ragged) -> Tensor:
        """Return the outputs for any number of sequences, `(n, O)`, as in evaluation.

        Args:
            sequences: arrays `(T_i, F)`, or ready for batches.
        """
        ragged = sequences if isinstance(sequences, Ragged) else self.ragged(sequences)
        training = self.training
        self.eval()
        rows = torch.arange(len(ragged))
        with torch.no_grad():
            found = [
                self(*ragged.batch(rows[start : start + ROWS]))
                for start in worked_on(range(0, len(rows), ROWS), "reading", "batches")
            ]
        self.train(training)
        return torch.cat(found) if found else self.mean.new_zeros(0, self.output_size)

    def ragged(self, sequences: Sequence[NDArray[np.floating]]) -> Ragged:
        """Return sequences ready for batches of this network's dtype and device.

        Args:
            sequences: arrays `(T_i, F)`.
        """
        return Ragged(sequences, self.mean.dtype, self.mean.device)

    def _noisy(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if not (self.training and self.options.noise):
            return x
        if generator is None:
            raise ConfigError("noise in training mode is drawn from a generator: pass generator=")
        noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
        return x + self.options.noise * noise.to(x.device)


class _Flat(nn.Module):
    """A linear layer over all the numbers of a sequence; convex, so it starts at zero."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(output_size, input_size))
        self.bias = nn.Parameter(torch.zeros(output_size))

    def forward(
        self, x: Tensor, lengths: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        if lengths is not None or x.shape[1] * x.shape[2] != self.weight.shape[1]:
            raise ShapeError(
                f"network.kind=softmax learned sequences of {self.weight.shape[1] // x.shape[2]} "
                f"steps, all of one length; got up to {x.shape[1]}"
            )
        return F.linear(x.flatten(1), self.weight, self.bias)


class _Recurrent(nn.Module):
    """Layers of one cell, their outputs pooled over the steps, and a linear layer."""

    def __init__(
        self,
        options: LabelNetworkOptions,
        input_size: int,
        output_size: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.pooling = options.pooling
        layers: list[Recurrence] = []
        for _ in range(options.num_layers):
            layer = _layer(options, input_size, generator)
            input_size = layer.output_size
            layers.append(Dropout(layer, output=options.dropout, variational=True))
        self.recurrence = Stack(layers)
        if self.pooling == "attention":
            self.attention = _linear(input_size, input_size, generator)
            self.query = nn.Parameter(torch.zeros(input_size))  # begins as the mean
        self.head = _linear(input_size, output_size, generator)

    def forward(
        self, x: Tensor, lengths: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        y, _ = unroll(self.recurrence, x, lengths=lengths, generator=generator)
        return cast("Tensor", self.head(self._pool(y, lengths)))

    def _pool(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        """Return `(B, P)` of outputs `(B, T, P)` that are zero past a row's length."""
        if self.pooling == "last":
            return self._ends(y, lengths)
        if self.pooling == "mean":
            count = y.shape[1] if lengths is None else lengths.unsqueeze(1).to(y.dtype)
            return y.sum(dim=1) / count
        scores = torch.tanh(self.attention(y)) @ self.query
        if lengths is not None:
            steps = torch.arange(y.shape[1], device=y.device)
            scores = scores.masked_fill(steps >= lengths.unsqueeze(1), -torch.inf)
        return (torch.softmax(scores, dim=1).unsqueeze(2) * y).sum(dim=1)

    def _ends(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        """Return what each direction says when it has read everything."""
        rows = torch.arange(len(y), device=y.device)
        end = y[:, -1] if lengths is None else y[rows, lengths - 1]
        top = cast("Dropout", self.recurrence.cells[-1]).inner()
        if not isinstance(top, Bidirectional):
            return end
        size = top.inner(0).output_size
        return torch.cat([end[:, :size], y[:, 0, size:]], dim=1)


def require_answers(answers: NDArray[np.floating]) -> None:
    """Refuse what a network has said where it is no number.

    Args:
        answers: of n sequences, `(n,)` or `(n, O)`.

    Raises:
        DataError: names the sequence.

    Example:
        >>> require_answers(np.array([0.5, np.inf]))
        Traceback (most recent call last):
        ...
        recurra.errors.DataError: sequence 2 is too far from what was learned: the network's ...
    """
    if (place := not_finite(answers)) is not None:
        raise DataError(
            f"sequence {place[0] + 1} is too far from what was learned: the network's answer "
            "is no finite number; scale its numbers as those that it learned from"
        )


def _layer(
    options: LabelNetworkOptions, input_size: int, generator: torch.Generator | None
) -> Recurrence:
    how = input_size, options.hidden_size, options.cell_options, generator
    cells = [make_cell(options.cell, *how) for _ in range(1 + options.bidirectional)]
    if generator is not None and not keeps_own_start(options.cell):
        for cell in cells:
            cell.reset_parameters(generator)
    return Bidirectional(*cells) if options.bidirectional else cast("Recurrence", cells[0])


def _linear(input_size: int, output_size: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(input_size, output_size)
    if generator is not None:
        for parameter in layer.parameters():
            bound = input_size**-0.5
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
