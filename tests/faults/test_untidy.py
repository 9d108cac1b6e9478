"""A seeded part of the campaigns of untidy inputs: read rightly, or refused by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "campaigns"


def campaign(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "draw", "most_refused"), [("calendars", "cases", 3), ("spreadsheets", "sheets", 15)]
)
def test_what_is_drawn_is_read_rightly_or_refused_by_name(name, draw, most_refused):
    drawn = campaign(name)
    outcomes = [drawn.outcome(each) for each in getattr(drawn, draw)(16, 80)]
    assert [said for kind, said in outcomes if kind == "wrong"] == []
    refused = [said for kind, said in outcomes if kind == "refused"]
    assert len(refused) <= most_refused
    assert all("data.csv" in said for said in refused)
