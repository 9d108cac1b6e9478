"""A seeded part of the campaigns `folders` and `io_errors`."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

CAMPAIGNS = Path(__file__).parents[1] / "campaigns"


@pytest.fixture
def campaign(monkeypatch: pytest.MonkeyPatch):
    """A function that imports a campaign."""
    monkeypatch.syspath_prepend(str(CAMPAIGNS))
    yield importlib.import_module
    for name in ("folders", "io_errors"):
        sys.modules.pop(name, None)


def test_nothing_that_is_not_ours_is_changed_and_what_is_ours_is_whole(campaign):
    found = campaign("folders").run(seed=4, count=16, kinds=("counts",))
    assert found["faults"] == []
    assert len(found["outcomes"]) >= 8
    assert any(name.endswith(": 0") for name in found["outcomes"])


def test_a_file_that_is_changed_would_be_noticed(campaign, monkeypatch):
    folders = campaign("folders")

    def spoil(made, place, draw):
        for path in place.rglob("*"):
            if path.is_file() and path.read_text(errors="replace") == "theirs":
                path.write_text("spoilt")
        return 0

    for name in ("_train", "_bench", "_mix", "_save", "_compare", "_fetch", "_model_dir"):
        monkeypatch.setattr(folders.Made, name, spoil)
    found = folders.run(seed=4, count=12, kinds=("counts",))
    assert any(fault.endswith("was changed") for fault in found["faults"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_disk_that_fails_anywhere_loses_nothing(campaign):
    names = ("compare", "fetch")
    found = campaign("io_errors").run(seed=4, names=names, stride=3, kinds=("counts",))
    assert found["faults"] == []
    met = {code for counts in found["commands"].values() for code in counts}
    assert {"ENOSPC: 5", "EIO: 1", "die: 77"} <= met
