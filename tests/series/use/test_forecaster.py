"""The forecaster: one set of numbers from a stream, a batch and a history; nothing from later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recurra.errors import CheckpointError, ConfigError, DataError, ShapeError
from recurra.series.calendar.found import infer
from recurra.series.data.dataset import Features
from recurra.series.data.windows import Observation
from recurra.series.entry import FORMAT
from recurra.series.judging.metrics import LEVELS
from recurra.series.panel import Panel, Series
from recurra.series.use.forecaster import Forecaster
from recurra.series.use.history import extended
from recurra.storage.files import json_bytes
from recurra.storage.format import Format
from recurra.storage.pretrained import open_pretrained, save_pretrained

PanelOf = Callable[..., Panel]
pytestmark = pytest.mark.filterwarnings("ignore:'f0'.* rows ahead of series:UserWarning")
Floats = NDArray[np.float64]
MIDDLE = 5

KINDS = [
    {"decoder": "direct"},
    {"decoder": "segments"},
    {"decoder": "recursive"},
    {"decoder": "direct", "head": "student_t", "cell": "gru", "residual": "last"},
    {"decoder": "segments", "cell": "gru", "num_layers": 2, "residual": "none"},
    {"decoder": "recursive", "head": "student_t", "members": 2, "linear": False},
    {"decoder": "segments", "scale": "series"},
    {"decoder": "direct", "logarithm": True},
]
NAMES = ["-".join(str(value) for value in kind.values()) for kind in KINDS]


def close(found: Any, expected: Any, relative: float = 1e-6) -> None:
    """Compare quantiles `(..., H, Q)`, or medians: to a share of the largest in each forecast."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    axes = tuple(range(max(0, expected.ndim - 2), expected.ndim))
    largest = np.abs(expected).max(axis=axes, keepdims=True)
    assert (np.abs(found - expected) <= relative * largest).all()


def until(panel: Panel, origin: int) -> Panel:
    """The panel as it stood then: nothing later but what is known ahead."""
    series = [
        replace(
            one,
            values=one.values[:origin],
            stamps=None if one.stamps is None else one.stamps[:origin],
            past=one.past[:origin],
        )
        for one in panel.series
    ]
    return replace(panel, series=tuple(series))


# One set of numbers


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_stream_a_history_and_a_batch_of_windows_say_the_same(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], kind: dict[str, Any]
) -> None:
    """From the first observation on, over gaps, for streams side by side."""
    panel = panel_of((40, 40), variables=2, past=1, future=2, static=2, stamps="hours", gaps=0.15)
    made = forecaster_of(panel, **kind)
    fc: Forecaster = made.forecaster
    channels = fc.features.channels(panel, ahead=fc.horizon)
    windows = fc.windows(panel, ahead=fc.horizon)
    rows, origins = np.repeat(np.arange(4), 40), np.tile(np.arange(1, 41), 4)
    batch = fc.quantiles(windows, rows, origins).reshape(4, 40, 6, len(LEVELS))
    assert np.isfinite(batch).all()
    static = torch.tensor(np.stack([one.static for one in channels]), dtype=torch.float32)
    known = torch.tensor(np.stack([one.known for one in channels]), dtype=torch.float32)
    seen = torch.tensor(np.stack([one.seen for one in channels]), dtype=torch.float32)
    state = fc.initial_state(4)._replace(
        static=static, variable=windows.variable, deviation=windows.deviations
    )
    sizes = [(part.shape, part.dtype) for part in state]
    for t in range(40):
        values = torch.tensor([one.values[t] for one in channels])
        told, state = fc.step(Observation(values, seen[:, t], known[:, t + 1 : t + 7]), state)
        close(told.quantiles, batch[:, t])
        assert [(part.shape, part.dtype) for part in state] == sizes, "its memory does not grow"
        if t in (0, 4, 20, 39):
            history = fc.predict(history=until(panel, t + 1)).quantiles
            close(history, batch[:, t])


@pytest.mark.parametrize("kind", KINDS[:6], ids=NAMES[:6])
def test_numbers_one_by_one_are_a_history(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], kind: dict[str, Any]
) -> None:
    panel = panel_of((40,), gaps=0.2)
    fc: Forecaster = forecaster_of(panel, calendar=False, **kind).forecaster
    state = fc.initial_state()
    for t, value in enumerate(panel.series[0].values[:, 0].tolist()):
        told, state = fc.step(value, state)
        assert told.quantiles.shape == (6, len(LEVELS))
        if t % 7 == 0:
            close(told.quantiles, fc.predict(history=until(panel, t + 1)).quantiles[0])
            array = panel.series[0].values[: t + 1, 0]
            if t:
                close(told.quantiles, fc.predict(history=array).quantiles[0])
    close(told.quantiles, fc.predict().quantiles[0])


def test_windows_are_forecast_in_any_portions(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = forecaster_of(panel_of())
    windows = made.forecaster.windows(made.panel)
    rows, origins = np.arange(11) % 2, np.arange(20, 31)
    whole = made.forecaster.quantiles(windows, rows, origins)
    monkeypatch.setattr("recurra.series.use.forecaster.BATCH", 4)
    close(made.forecaster.quantiles(windows, rows, origins), whole)
    assert made.forecaster.quantiles(windows, rows[:0], origins[:0]).shape == (0, 6, 11)


def test_features_that_are_not_given_are_zero(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    fc: Forecaster = forecaster_of(panel_of((40,), past=1, future=1)).forecaster
    state = fc.initial_state()
    _, after = fc.step(Observation(3.0, torch.ones(1, 2), torch.ones(1, 6, 1)), state)
    assert after.seen[:, -1].tolist() == [[1, 1]]
    _, after = fc.step(4.0, after)
    assert not after.seen[:, -1].any()
    assert not after.known.any()
    assert not state.values.any(), "the state that was given stays"


def test_what_is_stepped_is_told_in_its_own_shape(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    fc: Forecaster = forecaster_of(panel_of((40,))).forecaster
    for value in (3.0, 3, np.float64(3), torch.tensor(3.0)):
        told, _ = fc.step(value, fc.initial_state())
        assert told.median.shape == (6,)
    for several in (torch.tensor([3.0, 4.0]), np.array([3.0, 4.0])):
        told, _ = fc.step(several, fc.initial_state(2))
        assert told.median.shape == (2, 6)
    for odd in (10**400, 1j, "much"):
        with pytest.raises(DataError, match=r"a stream got what is no number: .*; give NaN"):
            fc.step(odd, fc.initial_state())
    with pytest.raises(ShapeError, match="got 2 observations for 3 streams"):
        fc.step(torch.zeros(2), fc.initial_state(3))


# Nothing from later


@pytest.mark.parametrize("scale", ["window", "series"])
@settings(max_examples=25)
@given(seed=st.integers(0, 1000), origin=st.integers(1, 40))
def test_what_comes_at_or_after_an_origin_changes_no_bit_of_a_forecast(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], scale: str, seed: int, origin: int
) -> None:
    """Of a series it learned from, nor of another one; neither by values nor by covariates."""
    own = panel_of((60, 60), past=1, future=1, stamps="irregular")
    fc: Forecaster = forecaster_of(own, scale=scale, decoder="segments").forecaster
    pair = []
    for moved in (False, True):
        panel = panel_of((41, 41), past=1, future=1, stamps="irregular", gaps=0.1, seed=seed)
        panel = replace(panel, series=(panel.series[0], replace(panel.series[1], unique_id="new")))
        draw = np.random.default_rng(seed)
        if moved:
            for one in panel.series:
                one.values[origin:] = draw.choice([np.nan, 1e8, 0.0], one.values[origin:].shape)
                one.past[origin:] = draw.choice([np.nan, 1e8], one.past[origin:].shape)
                assert one.stamps is not None
                one.stamps[origin:] = one.stamps[origin:] * 2 + 7
        origins = np.full(2, origin)
        pair.append(fc.quantiles(fc.windows(panel), np.arange(2), origins))
    np.testing.assert_array_equal(pair[0], pair[1])


@pytest.mark.parametrize("scale", ["window", "series"])
def test_what_is_fitted_is_fitted_to_the_training_part(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], scale: str
) -> None:
    made = []
    for shift in (0.0, 1e6):
        panel = panel_of((60, 47), past=2, static=1)
        for one in panel.series:
            one.values[-12:] += shift
            one.past[-12:] -= shift
        made.append(forecaster_of(panel, scale=scale))
    first, second = (each.forecaster for each in made)
    assert first.features == second.features
    np.testing.assert_array_equal(first.deviations, second.deviations)
    rows, origins = np.arange(2), made[0].dataset.end("train")
    assert origins.tolist() == [48, 35]
    told = [fc.quantiles(fc.windows(fc.history), rows, origins) for fc in (first, second)]
    np.testing.assert_array_equal(*told)


# What is seen


@pytest.mark.parametrize("decoder", ["direct", "segments", "recursive"])
@pytest.mark.parametrize("part", ["past", "future", "ahead", "static", "stamps"])
def test_covariates_and_stamps_have_their_say(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], decoder: str, part: str
) -> None:
    panel = panel_of((40, 40), past=1, future=1, static=1, stamps="hours")
    fc: Forecaster = forecaster_of(panel, decoder=decoder, calendar=True).forecaster
    one = panel.series[0]
    assert one.stamps is not None
    ahead = one.future.copy()
    ahead[40:43] += 5
    changed = {
        "past": {"past": one.past + np.eye(40)[35][:, None] * 5},
        "future": {"future": one.future + np.eye(60)[35][:, None] * 5},
        "ahead": {"future": ahead},
        "static": {"static": one.static + 1},
        "stamps": {"stamps": one.stamps + np.timedelta64(5, "h")},
    }[part]
    other = replace(panel, series=(replace(one, **changed), panel.series[1]))
    before, after = fc.predict().quantiles, fc.predict(history=other).quantiles
    assert np.abs(before[0] - after[0]).max() > 1e-3
    np.testing.assert_array_equal(before[1], after[1])


def test_the_time_between_observations_has_its_say_in_the_steps_that_were_learned(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((40,), stamps="irregular")
    fc: Forecaster = forecaster_of(panel).forecaster
    one = panel.series[0]
    assert one.stamps is not None
    slow = replace(one, stamps=one.stamps * 2)
    assert not np.allclose(
        fc.predict().quantiles, fc.predict(history=replace(panel, series=(slow,))).quantiles
    )
    later = one.stamps[5:]
    again = Panel(
        (
            replace(
                one, values=one.values[5:], stamps=later, past=one.past[5:], future=one.future[5:]
            ),
        ),
        panel.targets,
        infer(later[-3:]),
    )
    close(fc.predict(history=again).quantiles, fc.predict().quantiles)


def test_every_variable_is_forecast_by_its_name_and_as_what_it_is(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((40, 30), variables=2)
    fc: Forecaster = forecaster_of(panel).forecaster
    told = fc.predict()
    assert told.names == ("s0/y0", "s0/y1", "s1/y0", "s1/y1")
    for variable in (0, 1):
        state = fc.initial_state(variable=variable)
        for value in panel.series[0].values[:, variable].tolist():
            ahead, state = fc.step(value, state)
        close(ahead.quantiles, told.quantiles[variable])
    swapped = [replace(one, values=one.values[:, ::-1]) for one in panel.series]
    crossed = fc.predict(history=replace(panel, series=tuple(swapped))).quantiles
    assert not np.allclose(crossed[[1, 0, 3, 2]], told.quantiles), "it knows which is which"


# Farther than was learned


def test_a_longer_horizon_goes_on_from_the_medians_and_grows_less_certain(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((40, 31), future=1, ahead=9, stamps="hours")
    fc: Forecaster = forecaster_of(panel).forecaster
    first = fc.predict()
    long = fc.predict(15)
    assert long.quantiles.shape == (2, 15, 11)
    close(long.quantiles[:, :6], first.quantiles)
    after = extended(panel, first.median)
    second = fc.predict(history=after).quantiles
    middle = second[..., MIDDLE, None]
    close(long.median[:, 6:12], middle[..., 0])
    spread = (first.quantiles - first.median[..., None])[:, -1:]
    for q in range(11):
        side = np.sign(LEVELS[q] - 0.5)
        wide = middle[..., 0] + side * np.hypot(second[..., q] - middle[..., 0], spread[..., q])
        close(long.quantiles[:, 6:12, q], wide)
    third = fc.predict(3, history=extended(after, middle[..., 0])).median
    close(long.median[:, 12:], third)
    close(fc.predict(4).quantiles, first.quantiles[:, :4])
    hour = np.timedelta64(1, "h")
    assert panel.series[1].stamps is not None
    expected = panel.series[1].stamps[-1] + np.arange(1, 16) * hour
    np.testing.assert_array_equal(long.stamps[1], expected)


def test_intervals_of_a_longer_horizon_are_never_narrower_than_where_the_last_stride_ended(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    fc: Forecaster = forecaster_of(panel_of((40,))).forecaster
    with torch.no_grad():
        fc.network.correction[0, 6:] = -10.0  # the next stride's first step claims to know
        fc.network.correction[0, :5] = 10.0
    quantiles = fc.predict(12).quantiles[0]
    widths = quantiles - quantiles[:, MIDDLE, None]
    assert (np.abs(widths[6:]) >= np.abs(widths[5]) - 1e-9).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_running_freely_is_stepping_on_ones_own_medians(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((40,), past=1, gaps=0.3)
    fc: Forecaster = forecaster_of(panel).forecaster
    values = panel.series[0].values.copy()
    found = fc.run_freely(panel, 20, 14)
    np.testing.assert_array_equal(panel.series[0].values, values)
    history, past = values[:20, 0], panel.series[0].past.copy()
    past[20:] = np.nan
    for start in (20, 26, 32):
        so_far = Series("s0", history, past=past[:start])
        ahead = fc.predict(history=Panel((so_far,), ("y0",), past=("p0",))).median[0]
        history = np.append(history, ahead)
    close(found, history[20:34])


# Units


@pytest.mark.parametrize("kind", KINDS[:6], ids=NAMES[:6])
@pytest.mark.parametrize(("factor", "shift"), [(3.0, 7.0), (0.01, 0.0), (250.0, -900.0)])
def test_forecasts_are_told_in_whatever_units_the_values_are(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Any],
    kind: dict[str, Any],
    factor: float,
    shift: float,
) -> None:
    panel = panel_of((40, 31), gaps=0.1)
    fc: Forecaster = forecaster_of(panel, **kind).forecaster
    moved = [replace(one, values=one.values * factor + shift) for one in panel.series]
    here = fc.predict().quantiles
    there = fc.predict(history=replace(panel, series=tuple(moved))).quantiles
    np.testing.assert_allclose(there, here * factor + shift, atol=1e-4 * factor, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize(
    "values", [[5.0] * 30, [0.0] * 30, [np.nan] * 30, [4.0], [np.nan, 2.0], [np.nan] * 29 + [1.0]]
)
def test_series_that_never_change_or_were_hardly_seen_have_finite_forecasts(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Any],
    kind: dict[str, Any],
    values: list[float],
) -> None:
    fc: Forecaster = forecaster_of(panel_of((40,)), **kind).forecaster
    panel = Panel((Series("new", np.array(values)),), ("y0",))
    quantiles = fc.predict(14, history=panel).quantiles
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    if not kind.get("logarithm"):
        level = np.nan_to_num(values)[-1]
        surely = quantiles if np.isfinite(values).all() and len(values) > 1 else quantiles[..., 5]
        assert np.abs(surely - level).max() <= 0.2 * abs(level) + 1e-9


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_stream_is_not_sure_before_it_has_seen_a_season(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], kind: dict[str, Any]
) -> None:
    """From one number no network knows by how much the next ones differ; so little is claimed."""
    fc: Forecaster = forecaster_of(panel_of((60, 47)), **kind).forecaster
    usual = np.sqrt(np.mean(fc.deviations**2))
    assert fc.network.least == 5
    state = fc.initial_state(2)
    state = state._replace(deviation=torch.tensor([np.nan, 3 * usual]))
    for _ in range(4):
        told, state = fc.step(torch.tensor([20.0, 20.0]), state)
        low, high = (bound.log() if kind.get("logarithm") else bound for bound in told.interval(80))
        width = (high - low).min(-1).values / (2 * 2**0.5 * 1.2815515655)
        assert float(width[0]) >= usual * (1 - 1e-6)
        assert float(width[1]) >= 3 * usual * (1 - 1e-6), "told by the state"
    told, _ = fc.step(torch.tensor([20.0, 20.0]), state)
    if kind.get("scale") != "series":
        assert float(told.quantiles[0].std(-1).max()) < 1, "it never changed for a season"


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_whatever_is_stepped_the_quantiles_are_finite_and_in_order(
    forecaster_of: Callable[..., Any], panel_of: PanelOf, values: list[float | None]
) -> None:
    fc: Forecaster = forecaster_of(panel_of((40,))).forecaster
    state = fc.initial_state()
    for value in values:
        told, state = fc.step(np.nan if value is None else value, state)
    assert bool(told.quantiles.isfinite().all())
    assert bool((told.quantiles.diff(dim=-1) >= 0).all())


# On disk


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize("stamps", ["none", "hours", "irregular"])
def test_read_back_it_says_the_same_to_the_bit(
    tmp_path: Path,
    panel_of: PanelOf,
    forecaster_of: Callable[..., Any],
    kind: dict[str, Any],
    stamps: str,
) -> None:
    panel = panel_of(
        (60, 9), variables=2, past=1, future=1, static=1, ahead=3, stamps=stamps, gaps=0.1
    )
    fc: Forecaster = forecaster_of(panel, **kind).forecaster
    fc.save_pretrained(tmp_path / "model")
    again = Forecaster.from_pretrained(tmp_path)
    here, there = fc.predict(13), again.predict(13)
    np.testing.assert_array_equal(here.quantiles, there.quantiles)
    np.testing.assert_array_equal(here.stamps, there.stamps)
    assert here.names == there.names
    other = panel_of((30, 20), variables=2, past=1, future=1, static=1, stamps=stamps, seed=9)
    np.testing.assert_array_equal(
        fc.predict(history=other).quantiles, again.predict(history=other).quantiles
    )
    assert (again.options, again.data, again.features) == (fc.options, fc.data, fc.features)
    assert again.network.scaling == fc.network.scaling
    assert max(len(one) for one in again.history.series) == fc.context + 1
    again.save_pretrained(tmp_path / "twice")
    for name in ("model.json", "weights.safetensors"):
        one, two = tmp_path / "model" / name, tmp_path / "twice" / name
        assert one.read_bytes() == two.read_bytes()


DAMAGES: list[tuple[list[str], Any]] = [
    (["network", "cell"], "transformer"),
    (["network", "hidden_size"], 6),
    (["network", "hidden_size"], -1),
    (["network", "colour"], 1),
    (["network"], None),
    (["data", "horizon"], "far"),
    (["shape", "context"], 0),
    (["shape", "segment"], 5),
    (["shape", "segment"], 0),
    (["shape", "horizon"], 10**9),
    (["shape", "seen"], 3),
    (["shape", "variables"], 2),
    (["shape"], {"context": 12}),
    (["scaling", "residual"], "month"),
    (["scaling", "season"], "x"),
    (["features", "means"], []),
    (["features", "calendar"], True),
    (["features"], {}),
    (["history", "lengths"], [1, 2, 3]),
    (["history", "lengths"], ["a"]),
    (["history", "names"], ["a", "b", "c"]),
    (["history", "targets"], ["y", "z"]),
    (["history", "frequency"], {}),
    (["history", "future_lengths"], [1]),
    (["history"], None),
]


@pytest.mark.parametrize(("place", "value"), DAMAGES, ids=[f"{d[0]}{d[1]}" for d in DAMAGES])
def test_facts_that_describe_no_forecaster_are_a_damaged_checkpoint(
    tmp_path: Path,
    panel_of: PanelOf,
    forecaster_of: Callable[..., Any],
    place: list[str],
    value: Any,
) -> None:
    forecaster_of(panel_of((60, 40), past=1)).forecaster.save_pretrained(tmp_path / "whole")
    found = open_pretrained(tmp_path / "whole", FORMAT)
    facts = json.loads(json_bytes(found.facts))
    inner = facts
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    save_pretrained(tmp_path / "bad", FORMAT, "forecaster", facts, found.tensors())
    with pytest.raises(CheckpointError) as caught:
        Forecaster.from_pretrained(tmp_path / "bad")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["deviations", "history.values", "network.correction"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_tensors_that_are_missing_or_cut_are_a_damaged_checkpoint(
    tmp_path: Path,
    panel_of: PanelOf,
    forecaster_of: Callable[..., Any],
    name: str,
    damage: str,
) -> None:
    forecaster_of(panel_of()).forecaster.save_pretrained(tmp_path / "whole")
    found = open_pretrained(tmp_path / "whole", FORMAT)
    tensors = {k: t for k, t in found.tensors().items() if k != name}
    if damage == "cut":
        tensors[name] = found.tensors()[name][:1].clone()
    save_pretrained(tmp_path / "bad", FORMAT, "forecaster", found.facts, tensors)
    with pytest.raises(CheckpointError):
        Forecaster.from_pretrained(tmp_path / "bad")


def test_what_is_no_forecaster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no model"):
        Forecaster.from_pretrained(tmp_path / "nowhere")
    save_pretrained(tmp_path / "model", Format("recurra-classifier"), "classifier", {}, {})
    with pytest.raises(CheckpointError):
        Forecaster.from_pretrained(tmp_path)


# Histories


def test_histories_come_as_panels_files_frames_and_arrays(
    tmp_path: Path, panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((40,))
    fc: Forecaster = forecaster_of(panel).forecaster
    values = panel.series[0].values[:, 0]
    path = tmp_path / "series.csv"
    path.write_text("y\n" + "".join(f"{value!r}\n" for value in values.tolist()))
    for history in (values, path, str(path), {"y": values}, [values]):
        close(fc.predict(history=history).quantiles, fc.predict().quantiles)


def test_a_history_without_the_columns_that_were_learned_is_bad_data(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    dated = panel_of((40,), past=1, stamps="hours")
    fc: Forecaster = forecaster_of(dated, calendar=True).forecaster
    with pytest.raises(DataError, match="has past none; the forecaster learned from p0"):
        fc.predict(history=panel_of((40,), stamps="hours"))
    named = replace(panel_of((40,), past=1, stamps="hours"), past=("q",))
    with pytest.raises(DataError, match="has past q; the forecaster learned from p0"):
        fc.predict(history=named)
    with pytest.raises(DataError, match="has targets y0, y1; the forecaster learned from y0"):
        fc.predict(history=panel_of((40,), past=1, variables=2, stamps="hours"))
    with pytest.raises(DataError, match="series 's0' has no dates"):
        fc.predict(history=panel_of((40,), past=1))


def test_a_history_with_another_step_is_bad_data(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((40,), stamps="hours")
    fc: Forecaster = forecaster_of(panel).forecaster
    days = np.datetime64("2024-01-01", "ns") + np.arange(40) * np.timedelta64(1, "D")
    one = replace(panel.series[0], stamps=days)
    daily = replace(panel, series=(one,), frequency=infer(days))
    with pytest.raises(DataError, match="history is daily; the forecaster learned from hourly"):
        fc.predict(history=daily)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"horizon": 0}, "horizon is 0; give the steps to forecast, 1 to 100,000"),
        ({"horizon": -3}, "horizon is -3"),
        ({"levels": (80, 100)}, "an interval holds 100%"),
        ({"levels": (0.8,)}, "did you mean 80"),
    ],
)
def test_what_cannot_be_forecast_is_said(
    panel_of: PanelOf,
    forecaster_of: Callable[..., Any],
    arguments: dict[str, Any],
    match: str,
) -> None:
    with pytest.raises(ConfigError, match=match):
        forecaster_of(panel_of((40,))).forecaster.predict(**arguments)


def test_intervals_are_told_as_asked(panel_of: PanelOf, forecaster_of: Callable[..., Any]) -> None:
    told = forecaster_of(panel_of((40,))).forecaster.predict(2, levels=(50,))
    assert [list(row) for row in told] == [["unique_id", "ds", "yhat", "lo-50", "hi-50"]] * 2
    assert [row["ds"] for row in told] == [40, 41]


def test_the_deviation_of_a_series_it_did_not_learn_from_is_not_known(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((60, 47), variables=2)
    made = forecaster_of(panel, scale="series")
    new = replace(panel, series=(replace(panel.series[1], unique_id="new"), panel.series[1]))
    found = made.forecaster.windows(new).deviations
    assert found[:2].isnan().all()
    ends = made.dataset.end("train")
    np.testing.assert_allclose(found[2:], panel.series[1].values[: ends[1]].std(0), rtol=1e-12)
    assert isinstance(made.forecaster.features, Features)


def test_irregular_stamps_are_refused_where_every_step_was_learned(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    fc: Forecaster = forecaster_of(panel_of((60,), stamps="hours"), calendar=True).forecaster
    stamps = np.array([0, 1, 5, 300, 304], "timedelta64[m]") + np.datetime64("2020-01-01T00", "m")
    rows = {"ds": stamps, "y": np.arange(5.0)}
    with pytest.raises(DataError, match="series 'y' is irregular, not hourly: 2020-01-01 00:01:00"):
        fc.predict(history=rows)


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4, 7, 8, 9, 10, 11], [0, 2, 4, 6, 8], [3]])
def test_a_new_history_lies_on_the_calendar_that_was_learned(
    panel_of: PanelOf, forecaster_of: Callable[..., Any], places: list[int]
) -> None:
    fc: Forecaster = forecaster_of(panel_of((60,), stamps="hours"), calendar=True).forecaster
    stamps = np.datetime64("2024-03-04T00", "ns") + np.array(places) * np.timedelta64(1, "h")
    read = fc.read({"ds": stamps, "y": np.arange(float(len(places)))})
    (one,) = read.series
    assert len(one) == places[-1] - places[0] + 1
    assert np.flatnonzero(~np.isnan(one.values[:, 0])).tolist() == [p - places[0] for p in places]
    told = list(fc.predict(history=read))
    assert told[0]["ds"] == str(stamps[-1] + np.timedelta64(1, "h"))[:19].replace("T", " ")


def test_a_stream_goes_on_where_what_was_learned_from_ends(panel_of, forecaster_of) -> None:
    fc = forecaster_of(panel_of((50, 40), static=2), scale="series").forecaster
    name = fc.history.series[1].unique_id
    longer = [float(value) for value in (9.5, 11.0)]
    state = fc.state_after(name)
    for value in longer:
        ahead, state = fc.step(value, state)
    one = fc.history.series[1]
    values = np.concatenate([one.values[:, 0], longer])
    panel = replace(fc.history, series=(Series(name, values, static=one.static),))
    whole = fc.predict(history=panel)
    np.testing.assert_allclose(ahead.quantiles.numpy(), whole.quantiles[0], rtol=1e-6)
    with pytest.raises(DataError, match=r"no series is named 'nobody'"):
        fc.state_after("nobody")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, 3e38])
def test_a_stream_takes_no_number_that_is_too_large(panel_of, forecaster_of, value: float) -> None:
    forecaster = forecaster_of(panel_of()).forecaster
    state = forecaster.initial_state(2)
    with pytest.raises(DataError, match="stream 2 got"):
        forecaster.step(torch.tensor([1.0, value], dtype=torch.float64), state)
    _, state = forecaster.step(torch.tensor([1.0, np.nan], dtype=torch.float64), state)
    assert state.observed[:, -1].tolist() == [True, False]


@pytest.mark.parametrize("value", [np.inf, 1e300, 3e38])
def test_a_history_takes_no_number_that_is_too_large(panel_of, forecaster_of, value: float) -> None:
    forecaster = forecaster_of(panel_of()).forecaster
    values = np.arange(40.0) + 5
    values[11] = value
    with pytest.raises(DataError, match=r"data row 12: .*"):
        forecaster.predict(history=[values])


def test_a_forecast_that_is_not_finite_is_refused(panel_of, forecaster_of) -> None:
    forecaster = forecaster_of(panel_of()).forecaster
    forecaster.network.correction.fill_(torch.inf)
    with pytest.raises(DataError, match="the forecast of 's0', 1 steps ahead, is not finite"):
        forecaster.predict()
    with pytest.raises(DataError, match="the forecast of stream 1 is not finite"):
        forecaster.step(3.0, forecaster.initial_state())


@pytest.mark.parametrize(("asked", "said"), [
    ({"horizon": 10**9}, "horizon is 1000000000; give the steps to forecast, 1 to 100,000"),
    ({"levels": [50.0] * 100}, "100 levels are asked; at most 99"),
])  # fmt: skip
def test_what_is_asked_is_bounded(panel_of, forecaster_of, asked, said) -> None:
    with pytest.raises(ConfigError, match=said):
        forecaster_of(panel_of()).forecaster.predict(**asked)


def test_a_frame_in_the_place_of_the_horizon_is_named(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    one: Forecaster = forecaster_of(panel_of((60,))).forecaster
    with pytest.raises(ConfigError, match="horizon is a ndarray: give steps, and what they follow"):
        one.predict(np.zeros(9))  # type: ignore[arg-type]


def test_covariates_that_end_before_the_forecasts_do_are_told(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((60,), future=1)
    one: Forecaster = forecaster_of(panel).forecaster
    (series,) = panel.series
    short = replace(panel, series=(replace(series, future=series.future[:62]),))
    with pytest.warns(UserWarning, match=r"2 of the 6 rows ahead of series '.*' are given; the la"):
        one.predict(6, short)


def test_what_is_never_below_zero_is_not_forecast_below_it(
    panel_of: PanelOf, forecaster_of: Callable[..., Any]
) -> None:
    panel = panel_of((60, 40), variables=2)
    low = min(one.values.min() for one in panel.series)
    near = [replace(one, values=(one.values - low) / 1e3) for one in panel.series]
    panel = replace(panel, series=tuple(near))
    made: Forecaster = forecaster_of(panel).forecaster
    scaling = made.network.scaling
    made.network.scaling = scaling._replace(nonnegative=())
    wide = made.predict(20).quantiles
    made.__dict__.pop("_end", None)
    made.network.scaling = scaling._replace(nonnegative=(1,))
    made.__dict__.pop("_end", None)
    bounded = made.predict(20).quantiles
    assert (
        (wide < 0).any() and (bounded[1::2] >= 0).all() and np.array_equal(bounded[::2], wide[::2])
    )
