"""A seeded part of the campaign of odd numbers: finite answers, or the row is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[1] / "campaigns" / "odd_numbers.py"


@pytest.mark.filterwarnings("ignore")
def test_odd_numbers_give_finite_answers_or_a_row(tmp_path):
    spec = importlib.util.spec_from_file_location("odd_numbers", PLACE)
    campaign = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(campaign)
    drawn = [case for case in campaign.cases(5, 800) if case[0] in ("forecast", "classify")]
    faults = [campaign.fault(tmp_path, *case) for case in drawn[:: len(drawn) // 20]]
    assert [said for said in faults if said] == []
