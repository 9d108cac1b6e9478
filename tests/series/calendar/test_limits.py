"""Stamps end: dates in the year 2262, numbers where a step more is the same number."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.series.calendar.found import infer
from recurra.series.calendar.frequency import STEPS
from recurra.series.panel import Series


@pytest.mark.parametrize("unit", ["Y", "M", "D", "h", "s", "ms", "us"])
@pytest.mark.parametrize("year", ["1677", "2262", "5000"])
def test_dates_of_a_coarser_unit_never_wrap_around(unit: str, year: str) -> None:
    stamps = np.array([year], "datetime64[Y]").astype(f"datetime64[{unit}]")
    with pytest.raises(DataError, match=f"{year}-01-01 is out of range: dates are told in 1678"):
        Series("a", np.ones(1), stamps)
    there = np.array(["1678-01-01", "2261-12-31"], "datetime64[s]")
    assert Series("a", np.ones(2), there).stamps.astype("datetime64[s]").tolist() == there.tolist()


@pytest.mark.parametrize("last", [1e16, 1e18, -1e17, 1e300])
def test_numbers_beside_which_a_step_is_lost(last: float) -> None:
    with pytest.raises(DataError, match="a step of 1 is lost beside the stamp"):
        STEPS.after(last, 4)
    hours = np.arange(1e18, 1e18 + 40 * 3.6e12, 3.6e12)  # nanoseconds since 1970
    assert (np.diff(infer(hours).after(hours[-1], 4)) > 0).all()
