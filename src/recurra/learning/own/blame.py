"""Errors in code of someone's own, told by the setting that names it, the file and the line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from recurra.errors import ConfigError, RecurraError, RunError, in_one_line
from recurra.machine import is_out_of_memory
from recurra.randomness import generator
from recurra.table import nearest

__all__ = ["blamed", "line_of", "own_randomness", "require_taken"]


@contextmanager
def blamed(setting: str, place: str, kind: type[RecurraError] = RunError) -> Iterator[None]:
    """Say in one line what went wrong within, and where in the code that a setting names.

    Args:
        setting: as `"train.optimizer"`.
        place: what it is set to, a `module:Name`.
        kind: what is raised.

    Raises:
        RunError: by default; something else than an error of ours was raised within.

    Example:
        >>> with blamed("train.schedule", "mine:falling"):
        ...     1 / 0
        Traceback (most recent call last):
        ...
        recurra.errors.RunError: train.schedule=mine:falling: ZeroDivisionError: division by zero...
    """
    try:
        yield
    except RecurraError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise kind(f"{setting}={place}: {in_one_line(error)}") from error


def line_of(thing: Any) -> str:
    """Return where a function or a class is written, for the end of a message; or nothing.

    Args:
        thing: the function or the class.

    Example:
        >>> line_of(len)
        ''
    """
    code = getattr(thing, "__code__", None)
    if isinstance(code, CodeType):
        return f" ({_shown(code.co_filename)}:{code.co_firstlineno})"
    try:
        return f" ({_shown(inspect.getfile(thing))}:{inspect.getsourcelines(thing)[1]})"
    except (TypeError, OSError):
        return ""


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def require_taken(
    setting: str, place: str, function: Callable[..., Any], count: int, named: Mapping[str, Any]
) -> None:
    """Raise unless a function can be called with so many arguments, and with those by name.

    Args:
        setting: as `"train.schedule"`.
        place: what it is set to.
        function: what stands there.
        count: how many arguments it is given in their order.
        named: what it is given by name.

    Raises:
        ConfigError: it cannot; says what it takes, and where it is written.

    Example:
        >>> require_taken("train.schedule", "mine:falling", lambda step: 1 / step, 3, {})
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: train.schedule=mine:falling: it takes (step); too many ...
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*[None] * count, **named)
    except TypeError as error:
        taken = str(signature).partition(" ->")[0]
        unknown = (name for name in named if name not in signature.parameters)
        meant = next((nearest(name, [*signature.parameters][count:]) for name in unknown), "")
        raise ConfigError(
            f"{setting}={place}: it takes {taken}; {error}, of {count} by place and "
            f"{', '.join(named) or 'none'} by name{line_of(function)}{'.' * bool(meant)}{meant}"
        ) from error


@contextmanager
def own_randomness(seed: int, purpose: str, step: int, device: torch.device) -> Iterator[None]:
    """Let what draws from torch's global generator within draw the same at the same step again.

    Args:
        seed: of the training.
        purpose: what is drawn.
        step: of the training.
        device: the parameters'.

    Example:
        >>> drawn = []
        >>> for _ in range(2):
        ...     with own_randomness(1, "optimizer", 3, torch.device("cpu")):
        ...         drawn.append(float(torch.rand(())))
        >>> drawn[0] == drawn[1]
        True
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(generator(seed, purpose, step).initial_seed())
        yield
