"""A loop of one's own tried in plain Python, where an index past the end of an array is seen.

Compiled code looks at no bounds: it writes over what lies there, and the process dies of it.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, cast

import numpy as np

from recurra.errors import ConfigError
from recurra.nn.kernels.compiler.compiled import Compiled

__all__ = ["require_bounds", "require_loop"]


class _PastTheEndError(IndexError):
    """An index past the end, in words."""


class _Bounded(np.ndarray[Any, Any]):
    """An array that says which it is where an index is past its end."""

    name = ""

    def __array_finalize__(self, made: Any) -> None:
        self.name = getattr(made, "name", "")

    def __getitem__(self, place: Any) -> Any:
        try:
            return super().__getitem__(place)
        except IndexError:
            raise _PastTheEndError(self._told(place)) from None

    def __setitem__(self, place: Any, value: Any) -> None:
        try:
            super().__setitem__(place, value)
        except IndexError:
            raise _PastTheEndError(self._told(place)) from None

    def _told(self, place: Any) -> str:
        places = ", ".join(map(str, place if isinstance(place, tuple) else (place,)))
        return f"{self.name}[{places}], and {self.name} is of shape {self.shape}"


def require_loop(kernel: str, what: str, loop: Any, names: Sequence[str]) -> None:
    """Raise ConfigError unless a loop is a compiled function of as many arguments.

    Args:
        kernel: its name.
        what: the loop is in it, `forward` or `backward`.
        loop: which.
        names: of its arguments.

    Example:
        >>> require_loop("leak", "forward", len, "swh")
        Traceback (most recent call last):
        recurra.errors.ConfigError: leak: forward is not compiled; write @rc.compiled above it
    """
    if not isinstance(loop, Compiled):
        raise ConfigError(f"{kernel}: {what} is not compiled; write @rc.compiled above it")
    taken = list(inspect.signature(loop.function).parameters)
    if len(taken) != len(names):
        raise ConfigError(
            f"{kernel}: {what} takes ({', '.join(taken)}), expected ({', '.join(names)})"
        )


def require_bounds(
    kernel: str, what: str, loop: Compiled[..., Any], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Raise ConfigError where a loop reads or writes past the end of an array.

    Args:
        kernel: its name.
        what: the loop is in it, `forward` or `backward`.
        loop: which.
        shapes: of the arrays that it is given.
    """
    drawn = np.random.RandomState(1)
    names = inspect.signature(loop.function).parameters
    arrays = []
    for name, shape in zip(names, shapes):
        array = drawn.uniform(-1, 1, shape).view(_Bounded)
        array.name = name
        arrays.append(array)
    try:
        with np.errstate(all="ignore"):
            _plain(loop, {})(*arrays)
    except _PastTheEndError as error:
        at = traceback.extract_tb(error.__traceback__)
        line = [each for each in at if each.filename != __file__][-1]
        where = f"{Path(line.filename).name}:{line.lineno}"
        raise ConfigError(f"{kernel}: {what} reaches past the end: {error} ({where})") from None
    except Exception:  # what plain Python does not take, the compiler may, or says so itself
        return


def _plain(loop: Compiled[..., Any], made: dict[Any, Any]) -> Any:
    """Return the function as it is in Python, and all that it calls too."""
    if loop in made:
        return made[loop]
    function = cast("FunctionType", loop.function)
    known = dict(function.__globals__)
    closed = function.__closure__
    made[loop] = plain = FunctionType(
        function.__code__,
        known,
        function.__name__,
        function.__defaults__,
        closed and tuple(CellType(_inside(cell.cell_contents, made)) for cell in closed),
    )
    for name in function.__code__.co_names:
        if name in known:
            known[name] = _inside(known[name], made)
    return plain


def _inside(value: Any, made: dict[Any, Any]) -> Any:
    return _plain(value, made) if isinstance(value, Compiled) else value
