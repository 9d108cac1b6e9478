"""How much of a file that is not one's own is read or unpacked; the user can raise it."""

from __future__ import annotations

import os

from recurra.errors import ConfigError

__all__ = ["SETTING", "most_bytes"]

SETTING = "RECURRA_MOST_MB"


def most_bytes(default: int) -> int:
    """Return how many bytes something may hold once it is read whole or unpacked.

    Args:
        default: what is enough for all that is honest; `RECURRA_MOST_MB`, in millions of bytes,
            raises it, and never lowers it.

    Raises:
        ConfigError: the environment sets no whole number.

    Example:
        >>> most_bytes(64_000_000)
        64000000
    """
    said = os.environ.get(SETTING, "0")
    if not said.isdecimal():
        raise ConfigError(f"{SETTING} is {said!r:.40}, but must be a whole number, as 500")
    return max(default, int(said) * 1_000_000)
