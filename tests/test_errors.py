"""The errors: what they also are, and what the command line ends with."""

from __future__ import annotations

import pytest

from recurra import errors


@pytest.mark.parametrize(
    ("name", "code", "also"),
    [
        ("RecurraError", 1, Exception),
        ("RunError", 1, Exception),
        ("ConfigError", 2, ValueError),
        ("ShapeError", 2, ValueError),
        ("DataError", 3, ValueError),
        ("CheckpointError", 4, RuntimeError),
        ("ResourceError", 5, Exception),
    ],
)
def test_an_error_has_its_exit_code_and_kind(name, code, also):
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, errors.RecurraError) and issubclass(kind, also)
    assert str(kind("what was got")) == "what was got"


def test_none_is_forgotten():
    kinds = {k for k, v in vars(errors).items() if isinstance(v, type)}
    assert len(kinds) == 7
