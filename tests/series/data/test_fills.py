"""What is seen in gaps, against a loop over the steps of one window."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.series.data.fills import FILLS, Fill, filled

Numbers = list[int | None]
windows = st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=1, max_size=20)


def by_hand(numbers: Numbers, season: int, how: Fill) -> list[float]:
    """One step after another, as one would with pencil and paper."""
    known = [step for step, number in enumerate(numbers) if number is not None]
    if not known:
        return [0.0] * len(numbers)
    found = list[float]()
    for step, number in enumerate(numbers):
        before = [other for other in known if other <= step]
        after = [other for other in known if other >= step]
        alike = [other for other in known if (other - step) % season == 0]
        earlier = [other for other in alike if other <= step]
        if number is not None or not before:
            found.append(float(numbers[min(after)] or 0))
        elif how == "season" and 1 < season < len(numbers) and alike:
            found.append(float(numbers[max(earlier) if earlier else min(alike)] or 0))
        elif how == "linear" and after:
            low, high = numbers[max(before)] or 0, numbers[min(after)] or 0
            share = (step - max(before)) / (min(after) - max(before))
            found.append(low + (high - low) * share)
        elif how == "season":  # the value before, whatever that was filled with
            found.append(found[-1])
        else:
            found.append(float(numbers[max(before)] or 0))
    return found


@given(windows, st.integers(1, 6), st.sampled_from(["forward", "season", "linear"]))
def test_a_gap_is_what_it_is_by_hand(numbers: Numbers, season: int, how: Fill) -> None:
    observed = torch.tensor([[number is not None for number in numbers]])
    values = torch.tensor([[float(number or 0) for number in numbers]], dtype=torch.float64)
    found = filled(values, observed, season, how)[0].tolist()
    assert found == pytest.approx(by_hand(numbers, season, how), abs=1e-12)


def test_every_setting_says_how() -> None:
    assert set(FILLS.values()) == {"season", "forward", "linear"}


def test_windows_are_filled_each_by_itself() -> None:
    values = torch.tensor([[1.0, 2.0, 0.0, 4.0], [0.0, 7.0, 8.0, 0.0]])
    found = filled(values, values != 0, season=2, how="season")
    assert found.tolist() == [[1.0, 2.0, 1.0, 4.0], [7.0, 7.0, 8.0, 7.0]]
