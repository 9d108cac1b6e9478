"""Windows against brute force, and their scaling against a transcription in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recurra.series.data.dataset import Features
from recurra.series.data.windows import FLOOR, Scaling, Window, Windows
from recurra.series.panel import Panel

PanelOf = Callable[..., Panel]
Floats = NDArray[np.float64]


def windows_of(panel: Panel, context: int, horizon: int, ahead: int = 0) -> Windows:
    channels = Features.fit(panel, [len(one) for one in panel.series], True).channels(panel, ahead)
    return Windows(channels, context, horizon, np.arange(float(len(channels))))


def window_of(values: Floats, deviation: float = np.nan, horizon: int = 3) -> Window:
    """One row whose NaN are gaps, without features."""
    rows = torch.from_numpy(np.atleast_2d(np.asarray(values, np.float64)))
    B = len(rows)
    return Window(
        rows.nan_to_num(0.0),
        rows.isfinite(),
        torch.zeros(B, rows.shape[1], 0),
        torch.zeros(B, horizon, 0),
        torch.zeros(B, 0),
        torch.full((B,), deviation, dtype=torch.float64),
        torch.zeros(B, dtype=torch.int64),
    )


# What is seen


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    context=st.integers(1, 30),
    horizon=st.integers(1, 9),
    gaps=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_windows_are_what_a_loop_over_the_steps_finds(
    panel_of: PanelOf, seed: int, context: int, horizon: int, gaps: float
) -> None:
    panel = panel_of(
        (25, 13), variables=2, past=1, future=2, static=1, gaps=gaps, ahead=4, seed=seed
    )
    channels = Features.fit(panel, [25, 13], True).channels(panel, ahead=4)
    windows = Windows(channels, context, horizon, np.arange(4.0))
    assert len(windows) == 4
    draw = np.random.default_rng(seed)
    rows = draw.integers(0, 4, 12)
    origins = np.array([draw.integers(0, len(channels[r].values) + 1) for r in rows])
    found = windows.before(torch.from_numpy(rows), torch.from_numpy(origins))
    targets, there = windows.after(torch.from_numpy(rows), torch.from_numpy(origins))
    for b, (row, origin) in enumerate(zip(rows, origins)):
        one = channels[row]
        for place in range(context):
            step = origin - context + place
            value = one.values[step] if step >= 0 else np.nan
            assert bool(found.observed[b, place]) == bool(np.isfinite(value))
            assert float(found.values[b, place]) == np.nan_to_num(value)
            seen = one.seen[step] if step >= 0 else np.zeros(3)
            np.testing.assert_array_equal(found.seen[b, place].numpy(), seen.astype(np.float32))
        for h in range(horizon):
            known = one.known[min(origin + h, len(one.known) - 1)]
            np.testing.assert_array_equal(found.known[b, h].numpy(), known.astype(np.float32))
            value = one.values[origin + h] if origin + h < len(one.values) else np.nan
            assert bool(there[b, h]) == bool(np.isfinite(value))
            assert float(targets[b, h]) == np.nan_to_num(value)
        np.testing.assert_array_equal(found.static[b].numpy(), one.static.astype(np.float32))
        assert int(found.variable[b]) == one.variable
        assert float(found.deviation[b]) == row


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), origin=st.integers(1, 30))
def test_nothing_at_or_after_the_origin_changes_a_window_by_a_bit(
    panel_of: PanelOf, seed: int, origin: int
) -> None:
    """Neither values, nor past covariates, nor gaps, nor when the later ones were observed."""
    scaling = Scaling(4, "season")
    pair = []
    for moved in (False, True):
        panel = panel_of((31, 31), past=2, future=1, stamps="irregular", gaps=0.2, seed=seed)
        features = Features.fit(panel, [origin, origin], True)
        draw = np.random.default_rng(seed)
        if moved:
            for one in panel.series:
                one.values[origin:] = draw.choice([np.nan, 1e9, -3.0], one.values[origin:].shape)
                one.past[origin:] = draw.choice([np.nan, 1e9], one.past[origin:].shape)
                assert one.stamps is not None
                one.stamps[origin:] += 1000
        windows = Windows(features.channels(panel), 12, 5)
        window = windows.before(torch.tensor([0, 1]), torch.tensor([origin, origin]))
        pair.append((window, scaling.apply(window)))
    for before, after in zip(pair[0][0], pair[1][0]):
        np.testing.assert_array_equal(before, after)
    for one, other in zip(pair[0][1], pair[1][1]):
        assert torch.equal(one, other)


def test_deviations_are_not_known_unless_given(panel_of: PanelOf) -> None:
    panel = panel_of((20,))
    channels = Features.fit(panel, [10], True).channels(panel)
    window = Windows(channels, 4, 2).before(torch.tensor([0]), torch.tensor([9]))
    assert window.deviation.isnan().all()


# Scaling


def transcription(
    values: Floats, scaling: Scaling, deviation: float
) -> tuple[Floats, float, float, float]:
    """Values in their units, centre, scale, change: of one window, by the definition."""
    y = np.log(values) if scaling.logarithm else values.copy()
    for t in range(1, len(y)):
        y[t] = y[t - 1] if np.isnan(y[t]) else y[t]
    for t in range(len(y) - 2, -1, -1):
        y[t] = y[t + 1] if np.isnan(y[t]) else y[t]
    season = min(scaling.season, len(y))
    centre = {"season": y[-season:].mean(), "last": y[-1], "none": y.mean()}[scaling.residual]
    scale = y.std()
    if scaling.scale == "series" and np.isfinite(deviation):
        scale = deviation
    scale = max(scale, FLOOR * np.abs(y).mean() + np.finfo(np.float32).tiny)
    lag = season if season < len(y) else 1
    changes = [abs(y[t] - y[t - lag]) for t in range(lag, len(y))]
    change = np.mean(changes) / scale if changes else 0.0
    return (y - centre) / scale, centre, scale, change


@pytest.mark.parametrize("residual", ["season", "last", "none"])
@pytest.mark.parametrize(("scale", "deviation"), [("window", 7.0), ("series", 7.0), ("series", 0)])
@pytest.mark.parametrize("logarithm", [False, True])
def test_scaling_is_its_transcription(
    residual: str, scale: str, deviation: float, logarithm: bool
) -> None:
    draw = np.random.default_rng(3)
    for season, length in [(1, 9), (4, 12), (4, 4), (6, 4), (3, 1)]:
        scaling = Scaling(season, residual, scale, logarithm)  # type: ignore[arg-type]
        values = draw.uniform(1, 9, size=(6, length))
        if length > 1:
            values[1, 0], values[2, -1], values[3, length // 2] = np.nan, np.nan, np.nan
        found = scaling.apply(window_of(values, deviation or np.nan))
        for b, row in enumerate(values):
            expected = transcription(row, scaling, deviation or np.nan)
            for one, other in zip(found, expected):
                np.testing.assert_allclose(
                    one[b].squeeze(), np.squeeze(other), rtol=1e-9, atol=1e-12
                )


@pytest.mark.parametrize("residual", ["season", "last", "none"])
def test_unscaled_values_are_seen_and_told_as_they_are(residual: str) -> None:
    scaling = Scaling(4, residual, "none")  # type: ignore[arg-type]
    values = np.array([[3.0, 5.0, np.nan, 9.0, 2.0, 7.0, 30_000.0, 1.0]])
    scaled = scaling.apply(window_of(values, 7.0))
    filled = [3.0, 5.0, 5.0, 9.0, 2.0, 7.0, 30_000.0, 1.0]
    assert scaled.values.tolist() == [filled]
    assert (scaled.centre.tolist(), scaled.scale.tolist()) == ([[0.0]], [[1.0]])
    assert scaled.change.item() == pytest.approx((1 + 2 + 29_995 + 8) / 4)
    ahead = torch.tensor([[4.0, -2.0]], dtype=torch.float64)
    assert torch.equal(scaling.forward(ahead, scaled), ahead)
    assert torch.equal(scaling.backward(ahead.unsqueeze(-1), scaled)[..., 0], ahead)


@pytest.mark.parametrize("logarithm", [False, True])
def test_forward_and_backward_undo_each_other(logarithm: bool) -> None:
    draw = np.random.default_rng(0)
    scaling = Scaling(4, "season", "window", logarithm)
    scaled = scaling.apply(window_of(draw.uniform(5, 9, size=(3, 8))))
    values = torch.from_numpy(draw.uniform(1, 20, size=(3, 6)))
    back = scaling.backward(scaling.forward(values, scaled).unsqueeze(-1), scaled)
    torch.testing.assert_close(back[..., 0], values, rtol=1e-12, atol=0)


@pytest.mark.parametrize("residual", ["season", "last", "none"])
@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    factor=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
)
def test_a_window_in_its_own_units_does_not_know_what_units_it_was_told_in(
    residual: str, seed: int, factor: float, shift: float
) -> None:
    values = np.random.default_rng(seed).normal(size=(2, 12))
    values[0, 3] = np.nan
    scaling = Scaling(4, residual)  # type: ignore[arg-type]
    here = scaling.apply(window_of(values))
    there = scaling.apply(window_of((values + shift) * factor))
    for name in ("values", "change"):
        torch.testing.assert_close(getattr(here, name), getattr(there, name), rtol=0, atol=1e-9)
    torch.testing.assert_close(here.scale * factor, there.scale, rtol=1e-9, atol=0)


@pytest.mark.parametrize("residual", ["season", "last", "none"])
@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize("scale", ["window", "series"])
@pytest.mark.parametrize(
    "values",
    [[5.0] * 8, [0.0] * 8, [np.nan] * 8, [np.nan] * 7 + [3.0], [4.0], [np.nan], [-2.0] * 4],
)
def test_windows_without_a_deviation_have_finite_units(
    residual: str, logarithm: bool, scale: str, values: list[float]
) -> None:
    scaling = Scaling(3, residual, scale, logarithm)  # type: ignore[arg-type]
    scaled = scaling.apply(window_of(np.array(values)))
    assert all(bool(part.isfinite().all()) for part in scaled)
    assert float(scaled.scale.min()) > 0
    torch.testing.assert_close(scaled.values, torch.zeros_like(scaled.values), rtol=0, atol=1e-9)
    told = scaling.backward(torch.zeros(1, 4, 1), scaled)[..., 0]
    known = np.array(values)[np.isfinite(values)]
    level = known[-1] if len(known) and (known[-1] > 0 or not logarithm) else 0.0
    torch.testing.assert_close(told, torch.full_like(told, float(level)), rtol=1e-9, atol=2e-9)
