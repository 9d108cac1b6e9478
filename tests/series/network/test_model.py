"""The network against a transcription in torch's own modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.randomness import generator
from recurra.series.data.windows import Scaling, Window
from recurra.series.judging.metrics import LEVELS
from recurra.series.network.model import (
    FARTHEST,
    LEAST_CHANGE,
    MIDDLE,
    ForecastNetwork,
    Member,
    Shape,
    unit,
)
from recurra.series.options import ForecastOptions
from recurra.series.panel import Panel

PanelOf = Callable[..., Panel]

B = 7
SHAPE = Shape(context=12, segment=4, horizon=6, lag=4, seen=3, known=2, static=2, variables=3)
DECODERS = ["direct", "segments", "recursive"]
HEADS = ["quantiles", "student_t"]


def window(shape: Shape = SHAPE, rows: int = B, gaps: float = 0.2, seed: int = 0) -> Window:
    stream = torch.Generator().manual_seed(seed)
    observed = torch.rand(rows, shape.context, generator=stream) >= gaps
    values = 10 + torch.randn(rows, shape.context, generator=stream).double()
    return Window(
        values.where(observed, 0.0),
        observed,
        torch.randn(rows, shape.context, shape.seen, generator=stream),
        torch.randn(rows, shape.horizon, shape.known, generator=stream),
        torch.randn(rows, shape.static, generator=stream),
        torch.full((rows,), torch.nan, dtype=torch.float64),
        torch.arange(rows) % shape.variables,
    )


def network(shape: Shape = SHAPE, correction: float = 0.0, **options: Any) -> ForecastNetwork:
    """One whose weights are all drawn."""
    given = ForecastOptions(**{"hidden_size": 5, **options})
    net = ForecastNetwork(given, shape, Scaling(4, "season"), [None] * given.members)
    stream = generator(3, "test")
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -0.6, 0.6, generator=stream)
    nn.init.uniform_(net.correction, -correction, correction, generator=stream)
    return net.eval()


class Plain:
    """A member's equations, with torch's LSTM or GRU."""

    def __init__(self, member: Member, cell: str, layers: int) -> None:
        self.member = member
        self.weights = {k: v.double() for k, v in member.state_dict().items()}
        self.layers = []
        for n in range(layers):
            enters = self.weights[f"recurrence.cells.{n}.cells.0.weight_ih"].shape[1]
            one = (nn.LSTM if cell == "lstm" else nn.GRU)(enters, 5, batch_first=True).double()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                found = self.weights[f"recurrence.cells.{n}.cells.0.{name}"]
                getattr(one, f"{name}_l0").data = found
            self.layers.append(one)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def run(self, x: Tensor, states: list[Any]) -> tuple[Tensor, list[Any]]:
        after = []
        for layer, state in zip(self.layers, states):
            x, state = layer(x, state)
            after.append(state)
        return x, after

    def embed(self, values: Tensor, observed: Tensor, seen: Tensor, about: Tensor) -> Tensor:
        segments = []
        for start in range(0, values.shape[1], 4):
            part = slice(start, start + 4)
            flat = seen[:, part].flatten(1)
            flags = [observed[:, part]] if "read.weight" in self.weights else []
            segments.append(torch.cat([values[:, part], *flags, flat, about], 1))
        x = torch.stack(segments, 1)
        return torch.relu(self.linear("read", x)) if "read.weight" in self.weights else x

    def head(self, hidden: Tensor) -> Tensor:
        raw = self.linear("head.linear", hidden)
        if hasattr(self.member.head, "middle"):
            raw = raw.view(len(hidden), -1, 11)
            found = [raw[..., 5]]
            for q in range(6, 11):
                found.append(found[-1] + F.softplus(raw[..., q]))
            for q in range(4, -1, -1):
                found.insert(0, found[0] - F.softplus(raw[..., q]))
            return torch.stack(found, -1)
        raw = raw.view(len(hidden), -1, 3)
        scale, freedom = F.softplus(raw[..., 1]) + 1e-4, 2 + F.softplus(raw[..., 2])
        return torch.stack([raw[..., 0], scale, freedom], -1)

    def __call__(self, seen: Window, scaled: Tensor, base: Tensor) -> Tensor:
        kind = F.one_hot(seen.variable, 3).double()
        about = torch.cat([seen.static.double(), kind], 1)
        x = self.embed(scaled, seen.observed.double(), seen.seen.double(), about)
        y, states = self.run(x, [None] * len(self.layers))
        known = seen.known.double()
        if self.member.decoder == "direct":
            return self.head(y[:, -1] + self.linear("ahead", known.flatten(1)))
        known = F.pad(known, (0, 0, 0, 2))  # the last segment reaches two steps past the horizon
        found = []
        for m in range(2):
            part = known[:, 4 * m : 4 * m + 4]
            if self.member.decoder == "segments":
                asked = self.weights["place"][m] + self.linear("ahead", part.flatten(1))
                y, _ = self.run(asked.unsqueeze(1), states)
                found.append(self.head(y[:, 0]))
                continue
            found.append(self.head(y[:, -1] + self.linear("ahead", part.flatten(1))))
            middle = found[-1][..., 5 if hasattr(self.member.head, "middle") else 0]
            if m == 0:
                values = base[:, :4] + middle
                past = seen.seen[:, -1:, :1].double().expand(-1, 4, -1)  # the last that is known
                features = torch.cat([past, part], 2)
                x = self.embed(values, torch.ones_like(values), features, about)
                y, states = self.run(x, states)
        return torch.cat(found, 1)[:, :6]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("cell", "layers", "embed"), [("lstm", 1, True), ("gru", 2, True), ("lstm", 2, False)]
)
def test_a_member_is_its_equations(
    decoder: str, head: str, cell: str, layers: int, embed: bool
) -> None:
    net = network(decoder=decoder, head=head, cell=cell, num_layers=layers, embed=embed)
    seen = window()
    scaled = net.scaling.apply(seen)
    with torch.no_grad():
        base, parameters = net.member(0)(seen, scaled)
        linear = Plain(net.member(0), cell, layers)
        expected = linear(seen, scaled.values, base.double())
        smoothed = net.member(0).smoothing(scaled.values.float(), 6)
        base_expected = smoothed.double() + linear.linear("linear", scaled.values)
    torch.testing.assert_close(parameters.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(base.double(), base_expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_quantiles_are_the_members_mean_corrected_and_told_in_the_values_units(
    members: int, head: str
) -> None:
    net = network(members=members, head=head, correction=0.01)
    seen = window()
    scaled = net.scaling.apply(seen)
    found = []
    with torch.no_grad():
        for n in range(members):
            base, parameters = net.member(n)(seen, scaled)
            told = parameters.double()
            if head == "student_t":
                location, scale, freedom = told.numpy().transpose(2, 0, 1)
                quantiles = [stats.t.ppf(q, freedom, location, scale) for q in LEVELS]
                told = torch.from_numpy(np.stack(quantiles, -1))
            found.append(base.unsqueeze(-1) + told)
        change = scaled.change.clamp_min(LEAST_CHANGE).unsqueeze(-1)
        expected = torch.stack(found).mean(0) + net.correction * change
        assert bool((expected.diff(dim=-1) > 0).all()), "so small a correction crosses nothing"
        expected = scaled.centre.unsqueeze(-1) + scaled.scale.unsqueeze(-1) * expected
        torch.testing.assert_close(net.quantiles(seen), expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0, 30), st.sampled_from(DECODERS))
def test_quantiles_never_cross_however_they_are_corrected_and_the_median_stays(
    seed: int, most: float, decoder: str
) -> None:
    net = network(decoder=decoder, members=2)
    seen = window(seed=seed)
    with torch.no_grad():
        median = net.quantiles(seen)[..., 5]
        nn.init.uniform_(net.correction, -most, most, generator=torch.Generator().manual_seed(seed))
        net.correction[:, 5] = 0
        found = net.quantiles(seen)
    assert bool((found.diff(dim=-1) >= 0).all())
    torch.testing.assert_close(found[..., 5], median, rtol=1e-12, atol=0)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("linear", [False, True])
def test_before_it_has_learned_it_forecasts_the_last_seasons(decoder: str, linear: bool) -> None:
    """The base alone, for the most part the last season, with the same intervals for all."""
    options = ForecastOptions(hidden_size=5, decoder=decoder, linear=linear)  # type: ignore[arg-type]
    net = ForecastNetwork(options, SHAPE, Scaling(4, "season"), [generator(1, "init")])
    values = torch.arange(4.0).repeat(3).repeat(B, 1).double() + torch.randn(B, 1).double()
    seen = window(gaps=0.0)._replace(values=values)
    with torch.no_grad():
        ahead = net.quantiles(seen)
        widths = net.in_units(seen)[0].diff(dim=-1)
    torch.testing.assert_close(ahead[..., 5], values[:, [0, 1, 2, 3, 0, 1]], rtol=0, atol=1e-5)
    torch.testing.assert_close(widths, torch.full_like(widths, 0.1), rtol=0, atol=1e-3)


def test_without_anything_to_correct_the_base_is_nothing() -> None:
    shape = Shape(context=12, segment=4, horizon=6, lag=0)
    options = ForecastOptions(hidden_size=5, linear=False)
    net = ForecastNetwork(options, shape, Scaling(4, "none"), [generator(1, "init")])
    seen = window(shape)
    with torch.no_grad():
        base, _ = net.member(0)(seen, net.scaling.apply(seen))
    assert not base.any()


# The loss


@pytest.mark.parametrize("errors", ["season", "series"])
def test_the_loss_is_the_quantile_loss_of_what_was_observed_in_its_units(errors: str) -> None:
    """Seasonal changes of the window, or the series' deviation, 1 scale where that is unknown."""
    net = network(errors=errors)
    deviation = torch.tensor([2.0, 0.5, torch.nan, 3.0, 0.0, 1.0, 4.0]).double()
    seen = window()._replace(deviation=deviation)
    targets = 10 + torch.randn(B, 6, generator=torch.Generator().manual_seed(1)).double()
    observed = torch.rand(B, 6, generator=torch.Generator().manual_seed(2)) > 0.3
    found = float(net.loss(seen, targets.where(observed, 0.0), observed, 0).detach())
    with torch.no_grad():
        ahead, scaled = net.in_units(seen)
    losses = []
    for b in range(B):
        measure = max(LEAST_CHANGE, float(scaled.change[b]))
        if errors == "series":
            known = float(deviation[b])
            measure = known / float(scaled.scale[b]) if known > 0 else 1.0
        for h in range(6):
            if observed[b, h]:
                y = float((targets[b, h] - scaled.centre[b, 0]) / scaled.scale[b, 0])
                missed = [y - float(q) for q in ahead[b, h]]
                pinballs = [max(q * e, (q - 1) * e) for q, e in zip(LEVELS, missed)]
                losses.append(np.mean(pinballs) / measure)
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_loss_of_students_t_is_its_surprise() -> None:
    net, seen = network(head="student_t"), window()
    targets = 10 + torch.randn(B, 6, generator=torch.Generator().manual_seed(1)).double()
    observed = torch.ones(B, 6, dtype=torch.bool)
    found = float(net.loss(seen, targets, observed, 0).detach())
    scaled = net.scaling.apply(seen)
    with torch.no_grad():
        base, parameters = net.member(0)(seen, scaled)
    wanted = (targets - scaled.centre) / scaled.scale - base
    location, scale, freedom = parameters.double().numpy().transpose(2, 0, 1)
    expected = -stats.t.logpdf(wanted.numpy(), freedom, location, scale)
    assert found == pytest.approx(expected.mean(), rel=1e-5)


def test_the_loss_of_the_mean_is_its_square_in_the_window_s_unit() -> None:
    """As the tutorial's program learns its sine."""
    net, seen = network(head="mean"), window()
    targets = 10 + torch.randn(B, 6, generator=torch.Generator().manual_seed(1)).double()
    found = float(net.loss(seen, targets, torch.ones(B, 6, dtype=torch.bool), 0).detach())
    scaled = net.scaling.apply(seen)
    told = net.in_units(seen)[0]
    assert torch.equal(told, told[..., :1].expand(told.shape)), "every quantile is the mean"
    wanted = (targets - scaled.centre) / scaled.scale
    off = ((wanted - told[..., 0]) / scaled.change.clamp_min(LEAST_CHANGE)).detach().numpy()
    assert found == pytest.approx((off**2).mean(), rel=1e-5)


def test_the_loss_of_unscaled_values_in_no_unit_is_the_mean_square_error_itself() -> None:
    options = ForecastOptions(
        hidden_size=5, head="mean", linear=False, scale="none", errors="none", embed=False
    )
    shape = Shape(context=10, segment=10, horizon=1, lag=0)
    net = ForecastNetwork(options, shape, Scaling(4, "none", "none"), [generator(1, "init")])
    seen = window(shape, gaps=0.0)
    targets = 20_000 + torch.randn(B, 1).double()  # far, but nothing is too far to be learned from
    found = float(net.loss(seen, targets, torch.ones(B, 1, dtype=torch.bool), 0).detach())
    with torch.no_grad():
        told = net.quantiles(seen)[:, 0, MIDDLE]
    assert found == pytest.approx(float(((targets[:, 0] - told) ** 2).mean()), rel=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_a_window_of_zeros_that_ends_teaches_nothing_and_breaks_nothing(head: str) -> None:
    """An intermittent series: in units of such a window, what follows would be infinite."""
    net, seen = network(head=head), window(gaps=0.0)
    targets = torch.full((B, 6), 10.0, dtype=torch.float64)
    observed = torch.ones(B, 6, dtype=torch.bool)
    values = seen.values.clone()
    values[0] = 0.0
    both = net.loss(seen._replace(values=values), targets, observed, 0)
    both.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    rest = Window(*(part[1:] for part in seen))
    alone = net.loss(rest, targets[1:], observed[1:], 0)
    torch.testing.assert_close(both, alone)
    scaled = net.scaling.apply(seen)
    far = scaled.centre + scaled.scale * FARTHEST * 1.01
    assert float(net.loss(seen, far.expand(B, 6), observed, 0).detach()) == 0


def test_a_batch_of_gaps_has_no_loss() -> None:
    nothing = torch.zeros(B, 6)
    loss = network().loss(window(), nothing.double(), nothing.bool(), 0)
    assert float(loss.detach()) == 0


def test_errors_are_told_in_seasonal_changes_that_are_not_too_small() -> None:
    values = torch.tensor([[0.0, 1, 0, 1, 0, 3], [5, 5, 5, 5, 5, 5.001]]).double()
    shape = Shape(context=6, segment=2, horizon=2)
    seen = window(shape, rows=2, gaps=0.0)._replace(values=values)
    scaled = Scaling(2, "last").apply(seen)
    expected = (2 / 4) / values[0].std(correction=0)
    torch.testing.assert_close(unit(scaled)[0, 0], expected, rtol=1e-9, atol=0)
    constant = seen._replace(values=torch.full_like(values, 3.0))
    assert unit(Scaling(2, "last").apply(constant)).flatten().tolist() == [LEAST_CHANGE] * 2


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("head", HEADS)
def test_every_weight_of_the_member_that_learns_learns_and_no_other(
    decoder: str, head: str
) -> None:
    net = network(members=2, decoder=decoder, head=head, num_layers=2)
    targets = 10 + torch.randn(B, 6).double()
    loss = net.loss(window(), targets, torch.ones(B, 6, dtype=torch.bool), 1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in net.member(0).parameters())
    silent = [name for name, p in net.member(1).named_parameters() if not p.grad.abs().sum() > 0]
    assert not silent


# What is seen has an effect


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("part", ["values", "observed", "seen", "known", "static", "variable"])
def test_everything_that_is_seen_changes_the_forecast_of_its_row_alone(
    decoder: str, part: str
) -> None:
    net, seen = network(decoder=decoder), window(gaps=0.0)
    changed = getattr(seen, part).clone()
    if part == "observed":
        changed[2] = False
    elif part == "variable":
        changed[2] = (changed[2] + 1) % 3
    else:
        changed[2] += torch.linspace(0.5, 1, changed.shape[-1])
    with torch.no_grad():
        before, after = net.quantiles(seen), net.quantiles(seen._replace(**{part: changed}))
    moved = (before - after).abs().amax(dim=(1, 2)) > 1e-4
    assert moved.tolist() == [row == 2 for row in range(B)]


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_row_of_a_batch_is_as_it_is_alone(decoder: str) -> None:
    net, seen = network(decoder=decoder, members=2), window()
    with torch.no_grad():
        together = net.quantiles(seen)
        for row in range(B):
            alone = net.quantiles(Window(*(part[row : row + 1] for part in seen)))
            torch.testing.assert_close(together[row], alone[0], rtol=1e-6, atol=1e-6)


# Chance


def test_dropout_is_drawn_in_training_from_the_generator_alone() -> None:
    net, seen = network(dropout=0.5, num_layers=2), window()
    targets, observed = torch.full((B, 6), 10.0).double(), torch.ones(B, 6, dtype=torch.bool)

    def loss(seed: int) -> float:
        return float(net.loss(seen, targets, observed, 0, generator(seed, "dropout")).detach())

    assert loss(1) == loss(2), "none in evaluation"
    net.train()
    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


def test_initial_weights_come_from_the_generators_alone() -> None:
    def made(seed: int) -> dict[str, Tensor]:
        options = ForecastOptions(hidden_size=5, members=2, decoder="segments")
        seeds: list[torch.Generator | None] = [generator(seed, "init", n) for n in range(2)]
        return ForecastNetwork(options, SHAPE, Scaling(4, "season"), seeds).state_dict()

    first, again, other = made(1), made(1), made(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in ("read.weight", "place", "ahead.bias", "recurrence.cells.0.cells.0.weight_hh"):
        here = first[f"members.0.{name}"]
        assert not torch.equal(here, other[f"members.0.{name}"])
        assert not torch.equal(here, first[f"members.1.{name}"])
        assert here.abs().max() <= 1


@pytest.mark.parametrize(
    ("segment", "horizon", "ahead"), [(4, 6, 2), (4, 8, 2), (1, 5, 5), (9, 2, 1)]
)
def test_segments_ahead_hold_the_horizon(segment: int, horizon: int, ahead: int) -> None:
    assert Shape(segment * 2, segment, horizon).segments_ahead == ahead
