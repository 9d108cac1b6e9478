"""A panel's end: cut off, gone on with, taken apart and put together again."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from recurra.errors import CheckpointError
from recurra.learning.written import typed
from recurra.series.calendar.frequency import Frequency
from recurra.series.panel import Panel, Series
from recurra.series.use.history import Packed, extended, pack, tail, unpack

PanelOf = Callable[..., Panel]


@pytest.mark.parametrize("stamps", ["none", "hours", "irregular"])
def test_a_packed_panel_is_the_same_after_json(panel_of: PanelOf, stamps: str) -> None:
    panel = panel_of((20, 9), variables=2, past=1, future=2, static=3, stamps=stamps, gaps=0.2)
    panel = tail(panel, 15)
    facts, tensors = pack(panel)
    packed = typed(Packed, json.loads(json.dumps(facts)), "facts")
    again = unpack(packed, typed(Frequency, packed.frequency, "facts"), tensors)
    assert again.fingerprint == panel.fingerprint
    assert again.frequency == panel.frequency
    assert [len(one.future) for one in again.series] == [35, 29]


def test_the_tail_is_the_last_observations_and_all_that_is_known_ahead(panel_of: PanelOf) -> None:
    panel = panel_of((20, 4), past=1, future=1, static=1, ahead=3, stamps="hours")
    long, short = tail(panel, 6).series
    whole = panel.series[0]
    assert whole.stamps is not None
    np.testing.assert_array_equal(long.values, whole.values[14:])
    np.testing.assert_array_equal(long.stamps, whole.stamps[14:])
    np.testing.assert_array_equal(long.past, whole.past[14:])
    np.testing.assert_array_equal(long.future, whole.future[14:])
    np.testing.assert_array_equal(long.static, whole.static)
    assert (len(long), len(long.future), len(short)) == (6, 9, 4)


def test_the_tail_of_what_is_counted_goes_on_counting() -> None:
    panel = Panel((Series("a", np.arange(9.0)),))
    kept = tail(panel, 3)
    assert kept.series[0].stamps is not None
    assert kept.series[0].stamps.tolist() == [6, 7, 8]
    assert kept.stamps_after(kept.series[0], 2).tolist() == [9, 10]
    assert panel.stamps_after(panel.series[0], 2).tolist() == [9, 10]


@pytest.mark.parametrize("stamps", ["none", "hours"])
def test_an_extended_panel_goes_on_with_values_and_stamps(panel_of: PanelOf, stamps: str) -> None:
    panel = panel_of((20, 9), variables=2, past=1, future=1, ahead=2, stamps=stamps)
    ahead = np.arange(12.0).reshape(4, 3)
    found = extended(panel, ahead)
    for n, (one, before) in enumerate(zip(found.series, panel.series)):
        length = len(before)
        assert len(one) == length + 3
        np.testing.assert_array_equal(one.values[:length], before.values)
        np.testing.assert_array_equal(one.values[length:].T, ahead[2 * n : 2 * n + 2])
        assert np.isnan(one.past[length:]).all(), "what is not known ahead is not known"
        np.testing.assert_array_equal(one.future[: length + 2], before.future)
        assert one.future[-1] == before.future[-1]
        if stamps == "none":
            assert one.stamps is None
        else:
            assert one.stamps is not None
            np.testing.assert_array_equal(np.diff(one.stamps), np.timedelta64(1, "h"))
    assert len(panel.series[0]) == 20, "the panel that was given stays"


@pytest.mark.parametrize(
    "changed",
    [
        {"lengths": [16, 8]},  # the first would have another's first stamp at its end
        {"lengths": [3, 21]},
        {"names": ["a", "a"]},
        {"names": ["a", "b", "c"]},
        {"lengths": [15]},
        {"lengths": [15, 8]},
        {"future_lengths": [15, 8]},
        {"targets": ["x", "y", "z"]},
        {"frequency": {"name": "steps", "seasons": [1], "colour": 1}},
    ],
)
def test_what_does_not_go_together_is_no_panel(
    panel_of: PanelOf, changed: dict[str, object]
) -> None:
    facts, tensors = pack(tail(panel_of((15, 9), future=1), 15))
    with pytest.raises((ValueError, CheckpointError)):
        packed = typed(Packed, {**facts, **changed}, "facts")
        unpack(packed, typed(Frequency, packed.frequency, "facts"), tensors)
