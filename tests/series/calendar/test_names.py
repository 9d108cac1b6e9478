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
    assert named(name).name == name
    assert named(name).regular


def test_stamps_that_follow_are_a_step_apart():
    after = named("2 weeks").after(np.datetime64("2024-02-20"), 2).astype("datetime64[D]")
    assert after.astype(str).tolist() == ["2024-03-05", "2024-03-19"]
    assert named("1 hours") == named("hourly") == named("1 hour")


@pytest.mark.parametrize("name", ["", "hourley", "0 days", "-1 days", "1.5 hours", "3 fortnights"])
def test_no_frequency(name):
    with pytest.raises(ConfigError, match=r"no frequency is named .* or give a number and a unit"):
        named(name)


def test_it_overrides_what_is_inferred(tmp_path):
    days = ["2024-01-31", "2024-02-29", "2024-03-01", "2024-03-02", "2024-03-31"]
    rows = "\n".join(f"{day},{n}" for n, day in enumerate(days))
    (tmp_path / "own.csv").write_text(f"ds,y\n{rows}\n")
    options = SeriesOptions(dataset=str(tmp_path / "own.csv"))
    assert open_panel(options)[0].frequency.name != "monthly"
    asked = options.model_copy(update={"frequency": "monthly"})
    panel, _ = open_panel(asked)
    assert (panel.frequency.name, panel.frequency.season) == ("monthly", 12)
    assert panel.notes[-1] == "frequency monthly, season 12 (as asked)"
    after = panel.stamps_after(panel.series[0], 2).astype("datetime64[D]").astype(str)
    assert after.tolist() == ["2024-04-30", "2024-05-31"]
    both = asked.model_copy(update={"season": 4})
    assert open_panel(both)[0].frequency.seasons == (4,)


def test_series_without_dates_have_no_named_frequency():
    with pytest.raises(DataError, match=r"data.frequency is 'daily', but the series have no dates"):
        open_panel(SeriesOptions(frequency="daily"), np.arange(50.0))


def test_what_is_inferred_is_left_where_nothing_is_asked():
    hourly = np.arange("2024-01-01T00", "2024-01-03T00", dtype="datetime64[h]")
    assert infer(hourly) == named("hourly")
