"""Options as parameters of their own, so that scikit-learn finds each by its plain name."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import Parameter
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from recurra.table import nearest

__all__ = ["Setting", "chosen", "settings_of", "take", "with_settings"]

Kind = TypeVar("Kind", bound="type[Any]")

PLACE = "        settings: the rest, each by its name.\n"
"""The line of a docstring that gives way to a line for each setting."""


class Setting(NamedTuple):
    """A parameter that is a field of some options.

    Args:
        default: what it is where it is not given.
        description: in words.
    """

    default: Any
    description: str


def settings_of(
    options: type[BaseModel], without: Collection[str] = (), follows: bool = False
) -> dict[str, Setting]:
    """Return the fields of options as settings.

    Args:
        options: which.
        without: fields that are left out.
        follows: whether each is None by default, as it follows from the data.

    Example:
        >>> from recurra.estimators.options import SequenceOptions
        >>> settings_of(SequenceOptions)["num_layers"]
        Setting(default=1, description='layers of the cell')
    """
    return {
        name: Setting(None if follows else field.default, str(field.description))
        for name, field in options.model_fields.items()
        if name not in without
    }


def take(thing: Any, given: Mapping[str, Any]) -> None:
    """Keep each setting of a class under its name, unchanged, as scikit-learn asks.

    Args:
        thing: of a class `with_settings`, as it is made.
        given: what its `__init__` was given beside what it writes out.

    Raises:
        TypeError: there is no such setting.
    """
    for name in given:
        if name not in thing._settings:
            names = list(inspect.signature(type(thing)).parameters)
            raise TypeError(
                f"{type(thing).__name__} has no parameter {name!r:.80}.{nearest(name, names)}"
            )
    for name, setting in thing._settings.items():
        setattr(thing, name, given.get(name, setting.default))


def chosen(thing: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return settings as they are now.

    Args:
        thing: which has them.
        names: theirs.
    """
    return {name: getattr(thing, name) for name in names}


def with_settings(settings: Mapping[str, Setting]) -> Callable[[Kind], Kind]:
    """Let a class whose `__init__` ends in `**settings` show these in its signature and its words.

    Args:
        settings: by name.

    Example:
        >>> @with_settings({"width": Setting(3, "of it")})
        ... class Thing:
        ...     def __init__(self, **settings):
        ...         take(self, settings)
        >>> Thing(width=4).width, inspect.signature(Thing)
        (4, <Signature (*, width=3)>)
    """

    def shown(kind: Kind) -> Kind:
        init: Any = vars(kind)["__init__"]
        signature = inspect.signature(init)
        written = [p for p in signature.parameters.values() if p.kind != Parameter.VAR_KEYWORD]
        named = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=setting.default)
            for name, setting in settings.items()
        ]
        init.__signature__ = signature.replace(parameters=[*written, *named])
        kind._settings = settings
        told = (f"{name}: {one.description}." for name, one in settings.items())
        lines = [textwrap.fill(line, 92, subsequent_indent="    ") for line in told]
        kind.__doc__ = (kind.__doc__ or "").replace(
            PLACE, textwrap.indent("\n".join(lines), " " * 8) + "\n"
        )
        return kind

    return shown
