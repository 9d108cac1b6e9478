"""The whole products of cells, wrappers and ways of unrolling, of which `make test` runs a part."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from properties import tested

TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS))


def run(seed: int) -> dict[str, Any]:
    """Run all of each file that has a part; the seed is of the examples that are drawn."""
    from conftest import PARTS

    return tested([str(TESTS.parent / name) for name in PARTS], f"--hypothesis-seed={seed}")
