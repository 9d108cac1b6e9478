from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from recurra.errors import DataError, ShapeError
from recurra.series.calendar.found import infer
from recurra.series.panel import Panel, Series

DAYS = np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]")


def test_what_is_left_out():
    one = Series("a", np.array([1, 2, 3]))
    assert one.values.tolist() == [[1.0], [2.0], [3.0]] and one.values.dtype == np.float64
    assert one.stamps is None
    assert (one.past.shape, one.future.shape, one.static.shape) == ((3, 0), (3, 0), (0,))
    assert len(one) == 3


def test_everything_given():
    one = Series(
        "a",
        np.ones((5, 2)),
        DAYS,
        past=np.zeros(5),
        future=np.zeros((8, 3)),
        static=np.array([1.0, 2.0]),
    )
    assert one.stamps.dtype == "datetime64[ns]"
    assert (one.past.shape, one.future.shape, one.static.shape) == ((5, 1), (8, 3), (2,))


def test_numbers_as_stamps_become_float64():
    assert Series("a", np.ones(2), np.array([1, 3])).stamps.tolist() == [1.0, 3.0]


def test_series_and_panels_do_not_change():
    one = Series("a", np.ones(2))
    with pytest.raises(FrozenInstanceError):
        one.unique_id = "b"
    with pytest.raises(FrozenInstanceError):
        Panel((one,)).notes = ()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"values": np.empty(0)}, DataError, "'a' has no observations: its values are \\(0, 1\\)"),
        ({"values": np.empty((5, 0))}, DataError, "has no observations"),
        ({"values": np.ones((5, 1, 1))}, DataError, "has no observations|its values are"),
        ({"values": [1, 2, 3, 4, np.inf]}, DataError, "step 5: inf in its values"),
        ({"past": [1, 2, 3, 4, -np.inf]}, DataError, "step 5: -inf in its past"),
        ({"static": [np.inf]}, DataError, "^series .a.: inf in its static"),
        ({"stamps": DAYS[:4]}, ShapeError, r"has 5 values, but stamps \(4,\)"),
        ({"past": np.ones((4, 1))}, ShapeError, "5 values, but 4 past covariates"),
        ({"future": np.ones((4, 1))}, ShapeError, "5 values, but 4 future covariates"),
        ({"stamps": DAYS[::-1]}, DataError, "stamps that do not increase"),
        ({"stamps": np.array([1, 2, 2, 3, 4])}, DataError, "stamps that do not increase"),
        ({"stamps": np.array([1, 2, np.nan, 3, 4])}, DataError, "stamps that do not increase"),
    ],
)
def test_a_series_that_is_none(changes, error, said):
    with pytest.raises(error, match=said):
        Series(**{"unique_id": "a", "values": np.ones(5), **changes})


def test_stamps_after():
    plain = Panel((Series("a", np.ones(5)),))
    assert plain.stamps_after(plain.series[0], 2).tolist() == [5.0, 6.0]
    daily = Panel((Series("a", np.ones(5), DAYS),), frequency=infer(DAYS))
    after = daily.stamps_after(daily.series[0], 2).astype("datetime64[D]").astype(str)
    assert after.tolist() == ["2020-01-06", "2020-01-07"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"targets": ("x", "y")}, "has 1 columns of values, but 2 are named: x, y"),
        ({"past": ("p",)}, "has 0 columns of past, but 1 are named: p"),
        ({"future": ("f",)}, "has 0 columns of future"),
        ({"static": ("s",)}, "has 0 columns of static"),
    ],
)
def test_names_and_columns_disagree(names, said):
    with pytest.raises(ShapeError, match=said):
        Panel((Series("a", np.ones(3)),), **names)


def test_no_series_and_one_name_twice():
    with pytest.raises(DataError, match="there are no series"):
        Panel(())
    with pytest.raises(DataError, match="two series are named 'a'"):
        Panel((Series("a", np.ones(3)), Series("a", np.ones(4))))


def test_fingerprint_depends_on_everything_but_notes():
    one = Series("a", np.ones((5, 2)), DAYS, np.ones(5), np.ones(6), np.ones(1))
    panel = Panel((one,), ("x", "y"), infer(DAYS), ("p",), ("f",), ("s",))
    other = one.values.copy()
    other[4, 1] = np.nan
    changed = [
        replace(panel, targets=("y", "x")),
        replace(panel, frequency=replace(panel.frequency, season=1)),
        replace(panel, past=("q",)),
        replace(panel, series=(replace(one, unique_id="b"),)),
        replace(panel, series=(replace(one, values=other),)),
        replace(panel, series=(replace(one, stamps=DAYS + 1),)),
        replace(panel, series=(replace(one, stamps=None),)),
        replace(panel, series=(replace(one, past=np.zeros(5)),)),
        replace(panel, series=(replace(one, future=np.zeros(6)),)),
        replace(panel, series=(replace(one, future=np.ones(7)),)),
        replace(panel, series=(replace(one, static=np.zeros(1)),)),
        replace(panel, series=(one, replace(one, unique_id="b"))),
    ]
    prints = [panel.fingerprint, *(each.fingerprint for each in changed)]
    assert len(set(prints)) == len(prints)
    assert replace(panel, notes=("told",)).fingerprint == panel.fingerprint
    assert replace(panel, series=(replace(one, values=one.values.T.copy().T),)).fingerprint == (
        panel.fingerprint
    )


def test_fingerprint_is_the_same_tomorrow():
    panel = Panel((Series("a", np.arange(3.0), DAYS[:3]),), frequency=infer(DAYS))
    assert panel.fingerprint[:16] == "58a016d18828ef9d"
