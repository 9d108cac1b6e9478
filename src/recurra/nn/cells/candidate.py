"""The candidate of the minimal cells, which reads the input alone."""

from __future__ import annotations

from typing import Literal, get_args

from recurra.errors import ConfigError

__all__ = ["Candidate", "require_candidate"]

Candidate = Literal["linear", "positive"]
"""As it is, or above zero, as the paper has it where it scans logarithms."""


def require_candidate(given: Candidate) -> None:
    """Raise ConfigError unless there is such a candidate.

    Args:
        given: what should be one.

    Example:
        >>> require_candidate("square")
        Traceback (most recent call last):
        recurra.errors.ConfigError: candidate is 'linear' or 'positive', got 'square'
    """
    if given not in get_args(Candidate):
        raise ConfigError(f"candidate is 'linear' or 'positive', got {given!r}")
