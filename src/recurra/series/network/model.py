"""The recurrent network that forecasts: segments of a window in, the steps ahead out.

B windows, L observations seen in N segments of G, H steps ahead in M segments, U units,
E features seen with each observation, F known ahead, P parameters of a target's distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.learning.own.terms import Criterion
from recurra.nn.cells.base import Cell
from recurra.nn.head import MeanHead, QuantileHead, StudentTHead
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.make import keeps_own_start, make_cell
from recurra.nn.state import State, map_tensors
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.stack import Stack
from recurra.series.data.windows import Scaled, Scaling, Window
from recurra.series.judging.metrics import LEVELS
from recurra.series.network.conformal import corrected
from recurra.series.network.smoothing import Smoothing
from recurra.series.options import ForecastOptions

__all__ = ["ForecastNetwork", "Member", "Shape", "tells", "unit"]

MIDDLE = LEVELS.index(0.5)

FARTHEST = 1e4
"""Scales from a window's centre beyond which a target is not learned from."""

LARGEST_MAP = 4096
"""Observations seen up to which the linear parts become one map: that costs their square."""

LEAST_CHANGE = 0.05
"""A window's seasonal change counts as at least this share of its scale."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that a network is built to.

    Args:
        context: L, observations seen; whole segments.
        segment: G, observations read in one step of the cell.
        horizon: H, steps ahead.
        lag: steps of the seasons that are corrected; 1 for the last value, 0 for nothing.
        seen: E, features seen with each observation.
        known: F, features known ahead.
        static: S, numbers of a series.
        variables: V, targets.
    """

    context: int
    segment: int
    horizon: int
    lag: int = 1
    seen: int = 0
    known: int = 0
    static: int = 0
    variables: int = 1

    @property
    def segments_ahead(self) -> int:
        """M: segments that hold the horizon."""
        return -(-self.horizon // self.segment)


HEADS: dict[str, type[QuantileHead | StudentTHead | MeanHead]] = {
    "quantiles": QuantileHead,
    "student_t": StudentTHead,
    "mean": MeanHead,
}
"""By the name in `network.head`."""


class ForecastNetwork(nn.Module):
    """One or several recurrent networks whose forecasts are averaged.

    Each reads a window segment by segment and gives a distribution of every step ahead, as a
    correction of the window's base and, where asked for, of a linear map of what is seen.
    Quantiles are averaged level by level.

    Shapes: a `Window` of B rows; quantiles `(B, H, Q)`.

    Args:
        options: cell, width, depth, decoder and head.
        shape: its sizes.
        scaling: of the windows.
        generators: of each member's initial weights.

    Source: Lin et al. 2023, "SegRNN: Segment recurrent neural network for long-term time series
        forecasting", for segments and their decoding at once; Wen et al. 2017, "A multi-horizon
        quantile recurrent forecaster", for all horizons from one state.
    """

    def __init__(
        self,
        options: ForecastOptions,
        shape: Shape,
        scaling: Scaling,
        generators: list[torch.Generator | None],
    ) -> None:
        super().__init__()
        self.shape = shape
        self.scaling = scaling
        self.errors = options.errors
        self.correction: Tensor
        self.register_buffer("correction", torch.zeros(shape.horizon, len(LEVELS)))
        with torch.random.fork_rng(devices=[]):  # layers draw from torch's own when they are made
            self.members = nn.ModuleList(Member(options, shape, each) for each in generators)

    @property
    def least(self) -> int:
        """Observations that a window it learns from holds at least: a season and one more."""
        return min(self.shape.context, max(2, self.scaling.season + 1))

    def member(self, number: int) -> Member:
        """Return one of the networks.

        Args:
            number: which, from 0.
        """
        return cast("Member", self.members[number])

    def loss(
        self,
        window: Window,
        targets: Tensor,
        observed: Tensor,
        member: int,
        generator: torch.Generator | None = None,
        criterion: Criterion | None = None,
    ) -> Tensor:
        """Return the mean loss of one member over the observed targets.

        Args:
            window: what is seen.
            targets: `(B, H)`, what followed.
            observed: `(B, H)` bool, whether it was observed.
            member: which network learns.
            generator: where dropout masks come from.
            criterion: what is taken in place of the head's loss: a function of the n observed
                targets' parameters `(n, P)` and the targets `(n,)`, from the base, in the windows'
                own units.
        """
        scaled = self.scaling.apply(window)
        wanted = self.scaling.forward(targets, scaled)
        told = tells(self.scaling, wanted, observed)
        one = self.member(member)
        base, parameters = one(window, scaled, generator)
        aims = wanted.where(told, 0.0).float() - base
        if criterion is not None:
            return criterion(parameters[told], aims[told]) if told.any() else parameters.sum() * 0
        losses = one.head.loss(parameters, aims)
        if not isinstance(one.head, StudentTHead):  # a likelihood is told in no unit
            power = 2 if isinstance(one.head, MeanHead) else 1
            losses = losses / self.yardstick(window, scaled).float() ** power
        loss: Tensor = (losses * told).sum() / told.sum().clamp_min(1)
        return loss

    def yardstick(self, window: Window, scaled: Scaled) -> Tensor:
        """Return what losses are told in, `(B, 1)`, in the windows' own units.

        Args:
            window: what is seen.
            scaled: the same in its own units.
        """
        if self.errors == "none":
            return torch.ones_like(scaled.scale)
        if self.errors == "season":
            return unit(scaled)
        deviation = window.deviation.unsqueeze(1) / scaled.scale
        return torch.where(deviation > 0, deviation, 1.0)  # one that is not known is NaN

    def in_units(self, window: Window) -> tuple[Tensor, Scaled]:
        """Return the quantiles `(B, H, Q)`, the mean over the members, in the window's units.

        Args:
            window: what is seen.
        """
        scaled = self.scaling.apply(window)
        found = []
        for n in range(len(self.members)):
            one = self.member(n)
            base, parameters = one(window, scaled)
            found.append(base.unsqueeze(-1) + one.head.quantiles(parameters))
        return (torch.stack(found).mean(0) if len(found) > 1 else found[0]), scaled

    def quantiles(self, window: Window) -> Tensor:
        """Return the quantiles `(B, H, Q)` of what follows, calibrated, as values are.

        Args:
            window: what is seen.
        """
        ahead, scaled = self.in_units(window)
        corrections = self.correction * unit(scaled).unsqueeze(-1).to(ahead.dtype)
        return self.scaling.backward(corrected(ahead, corrections), scaled)


def unit(scaled: Scaled) -> Tensor:
    """Return what errors are told in, `(B, 1)`: the window's change over a season, as in MASE.

    Args:
        scaled: a window in its own units.
    """
    return scaled.change.clamp_min(LEAST_CHANGE)


def tells(scaling: Scaling, wanted: Tensor, observed: Tensor) -> Tensor:
    """Return which targets `(B, H)` can be learned from: a window of one value has no scale.

    Args:
        scaling: of the windows; where it leaves values as they are, all that is observed tells.
        wanted: targets in the units of their windows.
        observed: whether they were observed.
    """
    return observed if scaling.scale == "none" else observed & (wanted.abs() < FARTHEST)


class Member(nn.Module):
    """One recurrent network.

    Args:
        options: cell, width, depth, decoder and head.
        shape: its sizes.
        generator: of the initial weights.
    """

    head: QuantileHead | StudentTHead | MeanHead

    def __init__(
        self, options: ForecastOptions, shape: Shape, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        U, G = options.hidden_size, shape.segment
        self.shape, self.decoder, self.dropout = shape, options.decoder, options.dropout
        self._map: tuple[Tensor, Tensor] | None = None  # of the linear parts, in evaluation
        about = shape.static + (shape.variables if shape.variables > 1 else 0)
        enters = U if options.embed else G * (1 + shape.seen) + about
        if options.embed:
            self.read = nn.Linear(G * (2 + shape.seen) + about, U)
        how = options.cell_options, generator
        sizes = [enters, *[U] * (options.num_layers - 1)]
        layers = [make_cell(options.cell, size, U, *how) for size in sizes]
        between = [*[options.dropout] * (len(layers) - 1), 0.0]
        self.recurrence = Stack([Dropout(one, output=p) for one, p in zip(layers, between)])
        at_once = shape.horizon if options.decoder == "direct" else G
        if options.decoder == "segments":
            self.place = nn.Parameter(torch.empty(shape.segments_ahead, enters))
        if shape.known:
            added = enters if options.decoder == "segments" else U  # to what enters, or came out
            self.ahead = nn.Linear(at_once * shape.known, added)
        self._initialize(layers, keeps_own_start(options.cell), generator)
        if shape.lag:
            self.smoothing = Smoothing(shape.context, shape.lag)
        if options.linear:
            self.linear = nn.Linear(shape.context, shape.horizon)
            for parameter in self.linear.parameters():
                nn.init.zeros_(parameter)
        self.head = HEADS[options.head](U, at_once, LEVELS)

    def _initialize(
        self, layers: list[Cell], keep: bool, generator: torch.Generator | None
    ) -> None:
        kept = {id(p) for layer in layers for p in layer.parameters()} if keep else set()
        for parameter in self.parameters():
            if id(parameter) not in kept:
                bound = parameter.shape[-1] ** -0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        for layer in [] if keep else layers:
            layer.reset_parameters(generator)

    def forward(
        self, window: Window, scaled: Scaled, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a base `(B, H)`, and the head's parameters `(B, H, P)` of what is added to it.

        Args:
            window: what is seen.
            scaled: the same in its own units.
            generator: where dropout masks come from, needed in training mode.
        """
        values = scaled.values.float()
        base = self._base(values)
        about = self._about(window)
        x = self._embed(scaled.values, window.observed, window.seen, about)
        y, state = unroll(self.recurrence, x, generator=generator)
        if self.decoder == "direct":
            hidden = y[:, -1]
            if hasattr(self, "ahead"):
                hidden = hidden + self.ahead(window.known.flatten(1))
            return base, self.head(self._drop(hidden, generator))
        if self.decoder == "segments":
            return base, self._segments(window, state, generator)
        return base, self._recursive(window, base, about, (y[:, -1], state), generator)

    def train(self, mode: bool = True) -> Member:
        """Change between training and evaluation."""
        self._map = None  # weights may have changed since
        return super().train(mode)

    def _base(self, values: Tensor) -> Tensor:
        """Return `(B, H)`: what the linear parts say; in evaluation by one map."""
        learns = self.training or torch.is_grad_enabled()
        if learns or self.shape.context > LARGEST_MAP:
            return self._linear_parts(values)
        if self._map is None:
            units = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
            offset = self._linear_parts(torch.zeros_like(units[:1]))
            self._map = (self._linear_parts(units) - offset).T.contiguous(), offset[0]
        return F.linear(values, *self._map)

    def _linear_parts(self, values: Tensor) -> Tensor:
        base = values.new_zeros(len(values), self.shape.horizon)
        if hasattr(self, "smoothing"):
            base = self.smoothing(values, self.shape.horizon)
        return base + self.linear(values) if hasattr(self, "linear") else base

    def _about(self, window: Window) -> Tensor:
        """Return `(B, S + V)`: what does not change, and which variable it is."""
        parts = [window.static]
        if self.shape.variables > 1:
            parts.append(F.one_hot(window.variable, self.shape.variables).float())
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _embed(self, values: Tensor, observed: Tensor, seen: Tensor, about: Tensor) -> Tensor:
        """Return segments as they enter the cell, `(B, N, U)`, or wider where none are embedded."""
        B, G = len(values), self.shape.segment
        N, embeds = values.shape[1] // G, hasattr(self, "read")
        parts = [values.float().view(B, N, G)]
        if embeds:
            parts.append(observed.float().view(B, N, G))
        if self.shape.seen:
            parts.append(seen.reshape(B, N, -1))
        if about.shape[1]:
            parts.append(about.unsqueeze(1).expand(-1, N, -1))
        x = torch.cat(parts, 2) if len(parts) > 1 else parts[0]
        return torch.relu(self.read(x)) if embeds else x

    def _segments(self, window: Window, state: State, generator: torch.Generator | None) -> Tensor:
        """Decode every segment ahead from the same state, told apart by their places."""
        B, M, G = len(window.values), self.shape.segments_ahead, self.shape.segment
        x = self.place.expand(B, -1, -1)
        if hasattr(self, "ahead"):
            missing = M * G - self.shape.horizon
            known = F.pad(window.known, (0, 0, 0, missing))
            x = x + self.ahead(known.reshape(B, M, -1))
        repeated = map_tensors(lambda s: s.repeat_interleave(M, 0), state)
        y, _ = unroll(self.recurrence, x.reshape(B * M, 1, -1), repeated, generator=generator)
        found: Tensor = self.head(self._drop(y[:, 0], generator))
        return found.view(B, M * G, -1)[:, : self.shape.horizon]

    def _recursive(
        self,
        window: Window,
        base: Tensor,
        about: Tensor,
        carry: tuple[Tensor, State],
        generator: torch.Generator | None,
    ) -> Tensor:
        """Decode one segment, read its median, and so on; the state is carried."""
        hidden, state = carry
        M, G = self.shape.segments_ahead, self.shape.segment
        missing = M * G - self.shape.horizon
        base = F.pad(base, (0, missing))
        known = F.pad(window.known, (0, 0, 0, missing))
        last = window.seen[:, -1:, : self.shape.seen - self.shape.known]
        seen = torch.cat([last.expand(-1, M * G, -1), known], 2)
        middle = self.head.middle if isinstance(self.head, QuantileHead) else 0
        found = []
        for m in range(M):
            part = slice(m * G, (m + 1) * G)
            if hasattr(self, "ahead"):
                hidden = hidden + self.ahead(known[:, part].flatten(1))
            found.append(self.head(self._drop(hidden, generator)))
            if m == M - 1:
                break
            values = base[:, part] + found[-1][..., middle]
            x = self._embed(values, torch.ones_like(values), seen[:, part], about)
            y, state = unroll(self.recurrence, x, state, generator=generator)
            hidden = y[:, -1]
        return torch.cat(found, 1)[:, : self.shape.horizon]

    def _drop(self, hidden: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.training or not self.dropout or generator is None:
            return hidden
        return hidden * dropout_mask(hidden.shape, self.dropout, generator, hidden.dtype)
