"""`recurra demo forward`, as text and as JSON."""

from __future__ import annotations

import pytest


def test_forward_as_json(recurra):
    steps = recurra("demo", "forward", "--json").json["steps"]
    assert [list(step) for step in steps] == [["before_activation", "state", "output"]] * 2
    assert steps[0]["state"] == pytest.approx([0.537, 0.462], abs=5e-4)
    assert steps[0]["output"] == pytest.approx([1.561], abs=5e-4)
    assert steps[1]["before_activation"] == pytest.approx([1.292, 1.392], abs=5e-4)
    assert steps[1]["state"] == pytest.approx([0.860, 0.884], abs=5e-4)
    assert steps[1]["output"] == pytest.approx([2.727], abs=5e-4)


def test_forward_as_text(recurra):
    answer = recurra("demo", "forward")
    assert answer.code == 0
    assert answer.out.splitlines()[2:6] == [
        "x = 1",
        "  before activation  0.60000000  0.50000000",
        "  state              0.53704957  0.46211716",
        "  output             1.56128388",
    ]
