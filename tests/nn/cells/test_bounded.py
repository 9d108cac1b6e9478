"""Loops of one's own tried in plain Python: what reaches past an array is said, all else passes."""

from __future__ import annotations

from typing import Any

import pytest

import recurra as rc
from recurra.errors import ConfigError
from recurra.nn.cells.bounded import require_bounds, require_loop


@rc.compiled
def sums(s: Any, h: Any) -> None:
    for c in range(len(h)):
        h[c] += s[0, c] / (h[c] - h[c])
    h[:] = s[1] + h


@rc.compiled
def writes(s: Any, h: Any) -> None:
    h[len(h)] = s[0, 0]


@rc.compiled
def unknown(s: Any, h: Any) -> None:
    h[0] = nowhere(s)  # type: ignore[name-defined]  # noqa: F821


def test_what_stays_within_passes() -> None:
    require_bounds("one", "forward", sums, [(2, 3), (3,)])
    require_bounds("one", "forward", unknown, [(2, 3), (3,)])


def test_an_index_past_the_end_is_said_with_its_array_and_line() -> None:
    with pytest.raises(ConfigError, match=r"^one: forward reaches past the end: h\[3\], and h is "
                       r"of shape \(3,\) \(test_bounded\.py:23\)$"):  # fmt: skip
        require_bounds("one", "forward", writes, [(2, 3), (3,)])
    with pytest.raises(ConfigError, match=r"s\[1\], and s is of shape \(1, 3\)"):
        require_bounds("one", "backward", sums, [(1, 3), (3,)])


def test_a_loop_of_other_arguments_is_refused() -> None:
    require_loop("one", "forward", sums, ("s", "h"))
    with pytest.raises(ConfigError, match=r"^one: forward takes \(s, h\), expected \(s, w, h\)$"):
        require_loop("one", "forward", sums, ("s", "w", "h"))
