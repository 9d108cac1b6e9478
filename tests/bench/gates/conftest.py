"""A comparison of gates in a second: little text, few steps, few timings."""

from __future__ import annotations

import pytest

from recurra.bench import trial
from recurra.bench.gates import comparison
from recurra.bench.tasks import words


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, knows_grammar: None) -> None:
    """Make a comparison short; what it does stays the same."""
    monkeypatch.setattr(words.Words.__init__, "__defaults__", ("grammar", 10, None))
    monkeypatch.setattr(words, "MOST_HELD_OUT", 2000)
    monkeypatch.setattr(comparison, "HIDDEN", 8)
    monkeypatch.setattr(comparison, "ROUNDS", 1)
    monkeypatch.setattr(comparison, "LEAST_STEPS", 2)
    monkeypatch.setattr(trial, "VALIDATIONS", 1)
