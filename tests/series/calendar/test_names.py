from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import ConfigError, DataError
from recurra.series.calendar.found import infer
from recurra.series.calendar.names import STEPS, named
from recurra.series.datasets import open_panel
from recurra.series.options import SeriesOptions


@pytest.mark.parametrize("name", [*STEPS, "15 minutes", "2 weeks", "2 months", "10 days"])
def test_a_name_is_that_of_what_would_be_inferred(name):
    assert named(name).is_called(name)
    assert named(name).regular


def test_stamps_that_follow_are_a_step_apart():
    after = named("2 weeks").after(np.datetime64("2024-02-20"), 2).astype("datetime64[D]")
    assert after.astype(str).tolist() == ["2024-03-05", "2024-03-19"]
    assert named("1 hours") == named("hourly") == named("1 hour")


@pytest.mark.parametrize("name", ["", "hourley", "0 days", "-1 days", "1.5 hours", "3 fortnights"])
def test_no_frequency(name):
    with pytest.raises(ConfigError, match=r"no frequency is named .* or give a number and a unit"):
        named(name)


def test_an_asked_calendar_places_stamps_and_finds_gaps(tmp_path):
    days = ["2024-01-31", "2024-02-29", "2024-03-29", "2024-05-31", "2024-06-27"]
    rows = "\n".join(f"{day},{n}" for n, day in enumerate(days))
    (tmp_path / "own.csv").write_text(f"ds,y\n{rows}\n")
    asked = SeriesOptions(dataset=str(tmp_path / "own.csv"), frequency="monthly")
    panel, _ = open_panel(asked)
    (one,) = panel.series
    assert (panel.frequency.name, panel.frequency.season) == ("monthly (last business day)", 12)
    assert panel.notes == (
        "1 stamp lies beside the calendar, the first at data row 5: 2024-06-27 is taken for "
        "2024-06-28",
        "1 stamp is missing, the first after data row 3: added as gaps",
        "1 gap, the first after data row 3: left as gaps",
        "frequency monthly (last business day), season 12 (as asked)",
    )
    assert one.stamps.astype("datetime64[D]").astype(str).tolist() == [
        *days[:3], "2024-04-30", "2024-05-31", "2024-06-28",
    ]  # fmt: skip
    after = panel.stamps_after(one, 2).astype("datetime64[D]").astype(str)
    assert after.tolist() == ["2024-07-31", "2024-08-30"]
    both = asked.model_copy(update={"season": 4})
    assert open_panel(both)[0].frequency.seasons == (4,)


def test_stamps_that_an_asked_calendar_has_one_place_for_are_refused(tmp_path):
    (tmp_path / "own.csv").write_text("ds,y\n2024-01-31,1\n2024-02-29,2\n2024-03-01,3\n")
    options = SeriesOptions(dataset=str(tmp_path / "own.csv"), frequency="monthly")
    with pytest.raises(DataError, match=r"data rows 2 and 3: .* two stamps for 2024-02-29"):
        open_panel(options)


def test_series_without_dates_have_no_named_frequency():
    with pytest.raises(DataError, match=r"data.frequency is 'daily', but the series have no dates"):
        open_panel(SeriesOptions(frequency="daily"), np.arange(50.0))


def test_what_is_inferred_is_left_where_nothing_is_asked():
    hourly = np.arange("2024-01-01T00", "2024-01-03T00", dtype="datetime64[h]")
    assert infer(hourly) == named("hourly")
