"""Libraries beside whose own runs ours are held, where they are installed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "torch")


@pytest.fixture
def peer() -> Iterator[Callable[[str], Any]]:
    """Imports a library by its name; without it the test is skipped, and says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield lambda name: pytest.importorskip(name, reason=f"the peer {name} is not installed")
