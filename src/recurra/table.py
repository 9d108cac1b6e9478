"""A name -> object table whose entries are imported only when looked up."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from recurra.errors import ConfigError

__all__ = ["Table", "first_of", "imported", "nearest"]

MOST_LIKELY, LONGEST = 10_000, 100  # names that are compared, and characters of one


def first_of(names: Iterable[str], most: int = 12) -> str:
    """Return the first few names as a message lists them, however many and long they are.

    Args:
        names: any.
        most: how many are listed.

    Example:
        >>> first_of(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    several = [f"{name:.{LONGEST}}" for name in names]
    more = f" and {len(several) - most:,} more" if len(several) > most else ""
    return ", ".join(several[:most]) + more


def nearest(name: str, names: list[str]) -> str:
    """Return ` Did you mean 'x'?` where one of `names` is close to `name`, else nothing.

    Args:
        name: what was asked for.
        names: what there is.

    Example:
        >>> nearest("lsmt", ["lstm", "gru"])
        " Did you mean 'lstm'?"
    """
    likely = [each for each in names[:MOST_LIKELY] if len(each) <= LONGEST]
    close = difflib.get_close_matches(name[:LONGEST], likely, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def imported(place: str, kind: str) -> Any:
    """Return what stands at a place, `"module:Name"`; modules in the working directory too.

    Args:
        place: where it is.
        kind: what it is, for messages, as `"cell"`.

    Raises:
        ConfigError: it cannot be imported.

    Example:
        >>> imported("collections:OrderedDict", "container").__name__
        'OrderedDict'
    """
    module_name, _, attribute = place.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # a module of the user's may raise anything
        raise ConfigError(f"the {kind} {place!r} cannot be imported: {error}") from error


class Table(Mapping[str, Any]):
    """A read-only mapping from short names to objects, each given as `"module:Name"`.

    A key that holds a colon is itself such a place, so a user's own class works wherever a
    name does. Modules in the working directory are found too.

    Args:
        kind: what the entries are, for messages, as `"cell"`.
        places: name -> `"module:Name"`.

    Raises:
        ConfigError: on look-up of an unknown name, or of a place that cannot be imported.

    Example:
        >>> table = Table("container", {"ordered": "collections:OrderedDict"})
        >>> table["ordered"].__name__, table["collections:Counter"].__name__
        ('OrderedDict', 'Counter')
    """

    def __init__(self, kind: str, places: dict[str, str]) -> None:
        self.kind = kind
        self.places = places

    def __getitem__(self, name: str) -> Any:
        place = self.places.get(name, name)
        if ":" not in place:
            raise ConfigError(
                f"no {self.kind} is named {name!r}.{nearest(name, list(self.places))} "
                f"There are: {', '.join(self.places)}; or give your own as module:Name."
            )
        return imported(place, self.kind)

    def __contains__(self, name: object) -> bool:
        return name in self.places or (isinstance(name, str) and ":" in name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
