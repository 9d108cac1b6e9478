from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.learning.written import typed
from recurra.series.calendar.found import infer
from recurra.series.calendar.frequency import STEPS, Frequency
from recurra.series.calendar.seasons import infer_season

# Step as numpy writes it -> name, season, all seasons, and how many columns tell of the calendar.
FIXED = {
    "1s": ("secondly", 60, (60, 3600), 10),
    "30s": ("30 seconds", 2, (2, 120), 10),
    "1m": ("minutely", 60, (60, 1440), 10),
    "15m": ("15 minutes", 96, (96, 672), 10),
    "1h": ("hourly", 24, (24, 168), 8),
    "8h": ("8 hours", 3, (3, 21), 8),
    "1D": ("daily", 7, (7,), 6),
    "2D": ("2 days", 1, (1,), 2),
    "7D": ("weekly", 52, (52,), 2),
    "14D": ("2 weeks", 26, (26,), 2),
    "100ms": ("0.1 seconds", 1, (1,), 10),
}


def every(step, size=40, start="2019-12-28T05:30"):
    amount, unit = int("".join(filter(str.isdigit, step))), step.strip("0123456789")
    return np.datetime64(start, "ns") + np.arange(size) * np.timedelta64(amount, unit)


def by_months(step, size, day, start="2019-01"):
    """Stamps at 06:00 on a day of every `step`-th month; 31 is the last."""
    months = np.datetime64(start, "M") + step * np.arange(size)
    last = (months + 1).astype("datetime64[D]") - 1
    days = np.minimum(months.astype("datetime64[D]") + (day - 1), last)
    return days.astype("datetime64[ns]") + np.timedelta64(6, "h")


@pytest.mark.parametrize("step", FIXED)
def test_fixed_steps(step):
    stamps = every(step)
    found = infer(stamps)
    name, season, seasons, columns = FIXED[step]
    assert (found.name, found.season, found.seasons, found.regular) == (name, season, seasons, True)
    assert (found.after(stamps[24], 15) == stamps[25:]).all()
    assert found.grid(stamps).tolist() == list(range(40))
    assert (found.delta(stamps) == 1).all()
    assert found.calendar(stamps).shape == (40, columns)


@pytest.mark.parametrize(
    ("step", "name", "season"),
    [
        (1, "monthly", 12),
        (3, "quarterly", 4),
        (6, "6 months", 2),
        (5, "5 months", 1),
        (12, "yearly", 1),
        (60, "5 years", 1),
    ],
)
@pytest.mark.parametrize("day", [1, 15, 30, 31])
def test_months_of_the_calendar(step, name, season, day):
    stamps = by_months(step, 30, day)
    found = infer(stamps)
    assert (found.name, found.season, found.regular, found.unit) == (name, season, True, "month")
    assert (found.after(stamps[11], 18) == stamps[12:]).all()
    assert (found.delta(stamps) == 1).all()
    assert found.calendar(stamps).shape == (30, 0 if step >= 12 else 2)


def test_monthly_on_the_29th_is_not_taken_for_the_last_day():
    found = infer(by_months(1, 14, 29))
    assert found.day == 29
    after = found.after(np.datetime64("2021-01-29"), 2).astype("datetime64[D]").astype(str)
    assert after.tolist() == ["2021-02-28", "2021-03-29"]


def test_weekdays():
    days = np.busday_offset("2020-01-01", np.arange(30), roll="forward").astype("datetime64[ns]")
    found = infer(days[:20])
    assert (found.name, found.season, found.regular) == ("weekdays", 5, True)
    assert (found.after(days[19], 10) == days[20:]).all()
    assert (found.delta(days) == 1).all()
    assert infer(np.delete(days, 7)).grid(np.delete(days, 7)).tolist()[6:8] == [6, 8]


def test_four_days_of_one_week_are_daily():
    assert infer(every("1D", 4, "2020-01-06")).name == "daily"


@given(st.sampled_from(sorted(FIXED)), st.sets(st.integers(1, 38), max_size=8))
def test_missing_stamps_do_not_matter(step, missing):
    stamps = every(step)
    left = np.delete(stamps, sorted(missing))
    found = infer(left)
    assert found == infer(stamps)
    assert found.grid(left).tolist() == sorted(set(range(40)) - missing)


def test_one_stamp_of_ten_off_the_grid_leaves_the_rest_its_calendar():
    stamps = every("1h", 10)
    due = stamps.copy()
    stamps[4] += np.timedelta64(7, "m")
    found = infer(stamps)
    places, laid = found.laid(stamps)
    assert found == infer(due) and places.tolist() == [*range(10)] and (laid == due).all()


def test_two_of_ten_stamps_off_the_grid_make_it_irregular():
    stamps = every("1h", 10)
    stamps[[4, 7]] += np.timedelta64(20, "m")
    found = infer(stamps)
    assert not found.regular and found.name == "hourly"
    assert found.delta(stamps)[[4, 5]].tolist() == pytest.approx([80 / 60, 40 / 60])


def test_observations_far_apart_on_a_fine_grid_are_irregular():
    seconds = np.array([0, 1, 2, 3, 500, 90_000])
    assert not infer(np.datetime64("2020-01-01", "ns") + seconds * np.timedelta64(1, "s")).regular


def test_irregular_months_count_mean_months():
    stamps = np.array(["2020-01-10", "2020-02-10", "2020-03-10"], "datetime64[ns]")
    found = infer(stamps)
    late = replace(found, seasons=(12,), regular=False)
    assert late.delta(stamps).tolist() == pytest.approx([1, 31 / 30.436875, 29 / 30.436875])


def test_of_an_even_number_of_differences_the_lower_middle_one_counts():
    assert infer(np.array([0.0, 1.0, 3.0])).count == 1.0


def test_numbers():
    found = infer(np.array([1.5, 2.0, 2.5, 4.0]))
    assert (found.unit, found.count, found.regular, found.season) == ("step", 0.5, True, 1)
    assert found.after(4.0, 2).tolist() == [4.5, 5.0]
    assert found.calendar(np.arange(3.0)).shape == (3, 0)
    assert not infer(np.array([0.0, 1.0, 2.0, 2.9])).regular


def test_several_series_are_judged_together():
    early, late = every("1D", 3), every("1D", 30, "2021-06-01T05:30")
    assert infer(early, late, late[:1]).name == "daily"
    assert not infer(every("1h", 30), every("1m", 3)).regular


@pytest.mark.parametrize("stamps", [(), (np.array([1.0]),), (every("1D", 1), every("1D", 1))])
def test_a_single_stamp_has_no_frequency(stamps):
    with pytest.raises(DataError, match="no frequency can be inferred from a single stamp"):
        infer(*stamps)


def test_calendar_tells_where_in_each_cycle():
    stamps = np.array(["2021-03-01T00", "2021-03-01T06", "2021-03-08T12"], "datetime64[ns]")
    hourly = infer(every("1h"))
    day, week, month, year = np.split(hourly.calendar(stamps), 4, axis=1)
    assert day == pytest.approx(np.array([[0, 1], [1, 0], [0, -1]]))
    assert week == pytest.approx(np.array([[0, 1]] * 3))  # all are Mondays
    angle = 2 * np.pi * 7 / 31
    assert month[2] == pytest.approx([np.sin(angle), np.cos(angle)])
    assert year[0] == pytest.approx([np.sin(np.pi / 3), np.cos(np.pi / 3)])  # two months of twelve


@given(st.sampled_from(["15m", "1h", "1D", "7D"]), st.integers(0, 10_000))
def test_calendar_lies_on_circles(step, steps):
    stamps = every(step, 5) + steps * np.timedelta64(1, "h")
    columns = infer(every(step)).calendar(stamps).reshape(5, -1, 2)
    assert (columns**2).sum(2) == pytest.approx(1.0)


@pytest.mark.parametrize("found", [STEPS, infer(every("1h")), infer(by_months(1, 12, 31))])
def test_facts_go_through_json(found):
    assert typed(Frequency, json.loads(json.dumps(found.facts())), "facts") == found


def waves(period, size, seed=0, noise=0.3):
    clock = 2 * np.pi * np.arange(size) / period
    return np.sin(clock) + noise * np.random.default_rng(seed).normal(size=size)


@pytest.mark.parametrize("period", [4, 7, 12, 24, 52])
def test_season_of_noisy_waves(period):
    assert infer_season([waves(period, 8 * period)]) == period


def test_season_of_waves_on_a_trend_and_of_waves_that_grow():
    steps = np.arange(144)
    assert infer_season([waves(12, 144) + 0.5 * steps]) == 12
    assert infer_season([np.exp(0.02 * steps) * (5 + waves(12, 144))]) == 12
    many = np.arange(1000)
    assert infer_season([np.exp(0.01 * many) * (5 + waves(12, 1000))]) == 12


def test_season_of_a_day_within_a_week():
    hours = np.arange(24 * 7 * 4)
    rest = np.where(hours // 24 % 7 > 4, -0.5, 0.0)
    assert infer_season([np.sin(2 * np.pi * hours / 24) + rest]) == 24


def test_season_with_gaps():
    values = waves(12, 144)
    values[np.random.default_rng(0).choice(144, 20, replace=False)] = np.nan
    assert infer_season([values]) == 12


@pytest.mark.parametrize("size", [6, 20, 50, 300, 2000])
@pytest.mark.parametrize("kind", ["noise", "walk", "trend", "noisy trend", "autoregressive"])
def test_no_season(size, kind):
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(size=size)
        steps = np.arange(size)
        if kind == "autoregressive":
            values = np.zeros(size)
            for step in range(1, size):
                values[step] = 0.9 * values[step - 1] + noise[step]
        else:
            values = {
                "noise": noise,
                "walk": noise.cumsum(),
                "trend": 3.0 * steps + 1e6,
                "noisy trend": steps + noise,
            }[kind]
        assert infer_season([values]) == 1


@pytest.mark.parametrize("values", [[], [1.0], [np.nan] * 30, [5.0] * 30, [1.0, np.nan] * 15])
def test_no_season_where_there_is_nothing_to_see(values):
    assert infer_season([np.array(values)]) == 1


def test_more_than_half_of_the_series_must_agree():
    one, other = waves(12, 120), np.random.default_rng(1).normal(size=120)
    assert infer_season([one, one, other]) == 12
    assert infer_season([one, other, other]) == 1
    assert infer_season([one, other]) == infer_season([other, one]) == 1
    assert infer_season([]) == 1


@given(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_season_does_not_depend_on_units(scale, shift):
    values = waves(7, 100)
    assert infer_season([scale * (values + shift / 1e5)]) == 7


@pytest.mark.parametrize(("stamps", "n"), [
    (["1990-01-01", "1991-01-01", "1992-01-01"], 270),
    (["2020-01-31", "2020-02-29", "2020-03-31"], 2903),
    (["2020-01-06", "2020-01-07", "2020-01-08"], 88_400),
    (["2020-01-01", "2030-01-02", "2040-01-02"], 30),
])  # fmt: skip
def test_stamps_past_2262_are_refused_in_words(stamps, n):
    found = np.array(stamps, "datetime64[ns]")
    frequency = infer(found)
    with pytest.raises(DataError, match=rf"^{n:,} .* steps ahead lead past the year 2261"):
        frequency.after(found[-1], n)
    nearer = frequency.after(found[-1], n // 2 if n < 1000 else n - 100)
    assert (np.diff(nearer) > np.timedelta64(0)).all()
    with pytest.raises(DataError, match="lead past the year 2261"):
        frequency.after(found[-1], 10**5)


def test_more_than_half_of_the_stamps_may_be_missing():
    draws = np.random.default_rng(0)
    for step, name in (("D", "daily"), ("h", "hourly")):
        stamps = np.datetime64("2015-01-05", step) + np.arange(400)
        assert infer(stamps[draws.random(400) < 0.4]).name == name
    months = np.datetime64("2005-01", "M") + np.arange(200)
    assert infer(months[draws.random(200) < 0.4].astype("datetime64[D]")).name == "monthly"


def test_hours_of_the_week_are_looked_for_in_weeks_of_stamps():
    days = np.arange("2019-01-01", "2019-03-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)].astype("datetime64[m]")
    stamps = (days[:, None] + 570 + np.arange(390)).ravel()
    found = infer(stamps)
    assert (found.name, found.season) == ("minutely (Mon-Fri 09:30-15:59)", 390)
    assert infer(stamps[::5]).name == "5 minutes (Mon-Fri 09:30-15:55)"


def test_some_days_of_the_week():
    days = np.arange("2020-01-01", "2020-07-01", dtype="datetime64[D]")
    weekday = (days.astype(int) + 3) % 7
    assert infer(days[np.isin(weekday, [0, 2, 4])]).name == "daily (Mon, Wed, Fri)"
    assert infer(days[weekday == 1]).name == "weekly"
    assert (
        infer(np.array(["2020-11-05", "2020-11-08", "2020-11-11"], "datetime64[D]")).name
        == "3 days"
    )
