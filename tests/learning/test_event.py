"""Events are plain frozen records, so that whoever reads them can trust and compare them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import get_args

import pytest

from recurra.learning import event
from recurra.learning.event import Event, Saved, Stepped


def test_every_event_is_listed_frozen_and_holds_nothing_else() -> None:
    kinds = get_args(Event)
    assert {kind.__name__ for kind in kinds} == set(event.__all__) - {"Event"}
    for kind in kinds:
        assert is_dataclass(kind)
        values = [None for _ in fields(kind)]
        record = kind(*values)
        assert record == kind(*values)
        assert not hasattr(record, "__dict__")
        with pytest.raises(FrozenInstanceError):
            setattr(record, fields(kind)[0].name, 1)


def test_fields_are_what_readers_of_events_rely_on() -> None:
    assert {kind.__name__: [field.name for field in fields(kind)] for kind in get_args(Event)} == {
        "Started": ["step", "steps", "steps_per_epoch", "parameters", "device", "unjudged"],
        "Stepped": ["step", "epoch", "loss", "items", "learning_rate", "gradient_norm", "seconds"],
        "Validated": ["step", "epoch", "metrics", "best", "seconds"],
        "Averaged": ["step", "epoch"],
        "Saving": ["step"],
        "Saved": ["step", "path"],
        "Warned": ["message"],
        "Stopped": ["step"],
        "Finished": ["step", "epoch", "seconds", "items"],
    }


def test_records_compare_by_value() -> None:
    assert Saved(3, Path("a")) == Saved(3, Path("a")) != Saved(4, Path("a"))
    step = Stepped(1, 0.5, 2.0, 10, 0.1, 3.0, 0.25)
    match step:
        case Stepped(loss=loss, seconds=seconds):
            assert (loss, seconds) == (2.0, 0.25)
