"""Comparisons in a second: few sequences to judge by, few timings, few steps."""

from __future__ import annotations

import pytest

from recurra.bench import budget, cells, trial
from recurra.bench.tasks.adding import Adding
from recurra.bench.tasks.copying import Copying
from recurra.randomness import generator


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a comparison short; what it does stays the same."""
    for task in (Adding, Copying):
        monkeypatch.setattr(
            task, "held_out", lambda self, split: [self.make(32, generator(0, split))]
        )
    monkeypatch.setattr(cells, "ROUNDS", 1)
    monkeypatch.setattr(budget, "LEAST_STEPS", 2)
    monkeypatch.setattr(trial, "VALIDATIONS", 1)
