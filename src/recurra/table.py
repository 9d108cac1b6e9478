"""A name -> object table whose entries are imported only when looked up."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import isabstract
from itertools import islice
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from recurra.errors import CheckpointError, ConfigError, DataError, place_of

__all__ = [
    "Table",
    "called",
    "closest",
    "first_of",
    "imported",
    "located",
    "named_by_file",
    "nearest",
    "require_options",
]

MOST_LIKELY, LONGEST = 10_000, 100  # names that are compared, and characters of one


class _Reading(NamedTuple):
    """The file that names are read from, and what the user named for it."""

    source: str
    given: frozenset[str]
    checks: tuple[Callable[[str], None], ...]


_reading: ContextVar[_Reading | None] = ContextVar("reading", default=None)
"""None where names come from the user: the command line, or Python."""


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


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that was most likely meant; None where none is like `name`.

    Args:
        name: what was asked for.
        names: what there is.

    Example:
        >>> closest("ptb", ["ptb-seed", "kn5"]), closest("lsmt", ["lstm", "gru"])
        ('ptb-seed', 'lstm')
    """
    likely = _likely(names)
    if (found := called(name, likely)) is not None:
        return found
    low = {each.lower(): each for each in reversed(likely)}
    close = difflib.get_close_matches(name[:LONGEST].lower(), low, n=1)
    return low[close[0]] if close else None


def called(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that someone calls `name`, for short or with other joints.

    Args:
        name: what was asked for.
        names: what there is.

    Example:
        >>> there = ["clip_norm", "learning_rate", "hidden_size"]
        >>> [called(name, there) for name in ("lr", "hidden", "clipNorm", "clip_nrom")]
        ['learning_rate', 'hidden_size', 'clip_norm', None]
    """
    likely = _likely(names)
    asked = _JOINT.split(name[:LONGEST].lower())
    for alike in (_same, _initials, _first_words):
        for each in likely:
            if alike(asked, _JOINT.split(each.lower())):
                return each
    return None


def _likely(names: Iterable[str]) -> list[str]:
    return [each for each in islice(names, MOST_LIKELY) if len(each) <= LONGEST]


_JOINT = re.compile(r"[-_ ]")


def _same(asked: list[str], there: list[str]) -> bool:
    return "".join(asked) == "".join(there)


def _initials(asked: list[str], there: list[str]) -> bool:
    return len(there) > 1 and asked == ["".join(word[:1] for word in there)]


def _first_words(asked: list[str], there: list[str]) -> bool:
    return asked == there[: len(asked)]


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` where one of `names` is close to `name`, else nothing.

    Args:
        name: what was asked for.
        names: what there is.

    Example:
        >>> nearest("lsmt", ["lstm", "gru"])
        " Did you mean 'lstm'?"
    """
    found = closest(name, names)
    return "" if found is None else f" Did you mean {found!r}?"


def require_options(name: str, make: Callable[..., Any], given: Iterable[str], placed: int) -> None:
    """Raise where something does not take an option; what it hides, it says itself.

    Args:
        name: what it is called.
        make: a class or a function.
        given: names of options.
        placed: how many arguments it is given in their order, which are no options.

    Raises:
        ConfigError: names the nearest option, and all that there are.

    Example:
        >>> require_options("mine:Leak", lambda i, o, decay=0.9: i, ["dekay"], 2)
        Traceback (most recent call last):
        ...
        recurra.errors.ConfigError: mine:Leak takes no option 'dekay'. Did you mean 'decay'? It ...
    """
    try:
        taken = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return
    known = [word for word, each in taken.items() if each.kind is not each.VAR_POSITIONAL][placed:]
    for option in given:
        if option not in known:
            has = f"It takes {', '.join(known)}" if known else "It takes none"
            raise ConfigError(
                f"{name} takes no option {option!r:.40}.{nearest(option, known)} {has}"
            )


def located(name: str) -> Path | None:
    """Return the path that a name is, `~` being the user's home; None where it is none.

    It is one where something lies there, or where it is written as paths are, and not as a place
    `module:Name`.

    Args:
        name: of data, by anyone.

    Raises:
        DataError: it can be no path.

    Example:
        >>> located("nowhere.csv"), located("airline")
        (PosixPath('nowhere.csv'), None)
    """
    try:
        path = Path(name).expanduser()
        written = ":" not in name and (len(path.parts) > 1 or path.suffix)
        return path if written or path.exists() else None
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"{name[:80]!r} cannot be a file: {said}") from error


@contextmanager
def named_by_file(
    source: object,
    allow_import: Iterable[str] = (),
    check: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Look up what is asked for within as names that a file wrote: in the tables, and no further.

    A place `module:Name` is then taken only if it is among those that the user named, or if what
    stands there is in this process already; nothing is imported for a file. Within another such
    block, what was allowed there is allowed here too.

    Args:
        source: whose names they are, for messages: a path.
        allow_import: names that the user gave: by consent, or on the command line itself; options
            behind them are left out.
        check: raises where what stands at such a place is not to be used, before it is imported.

    Raises:
        ConfigError: a single string is given.

    Example:
        >>> own = Table("container", {}, base="builtins:dict")
        >>> with named_by_file("model", ["collections:Counter"]):
        ...     own["collections:Counter"].__name__
        'Counter'
        >>> with named_by_file("model"):
        ...     own["mine:Box"]
        Traceback (most recent call last):
        ...
        recurra.errors.CheckpointError: model names the container 'mine:Box', code of someone's ...
    """
    if isinstance(allow_import, str):
        raise ConfigError(f"allow_import is a list of names, as [{allow_import!r}], got a string")
    before = _reading.get()
    given = frozenset(name.partition("(")[0] for name in allow_import)
    given |= before.given if before else frozenset()
    checks = (*(before.checks if before else ()), *([check] if check else ()))
    token = _reading.set(_Reading(str(source), given, checks))
    try:
        yield
    finally:
        _reading.reset(token)


def imported(place: str, kind: str) -> Any:
    """Return what stands at a place that the package itself names, as `"module:Name"`.

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
    module = None
    try:
        module = importlib.import_module(module_name)
        return getattr(module, attribute)
    except Exception as error:  # a module of the user's may raise anything
        where = place_of(error)
        said = error.msg if isinstance(error, SyntaxError) else error
        at = f" ({where})" if where else ""
        there = [] if module is None else [n for n in vars(module) if not n.startswith("_")]
        meant = nearest(attribute, there)
        said = f"{said}{at}" + (f".{meant}" if meant else "")
        raise ConfigError(f"the {kind} {place!r} cannot be imported: {said}") from error


class Table(Mapping[str, Any]):
    """A read-only mapping from short names to objects, each given as `"module:Name"`.

    Where a base is given, a key that holds a colon is itself such a place, so a user's own class
    works wherever a name does; modules in the working directory are found too. What stands there
    is seen to be of the base before anyone calls it.

    Args:
        kind: what the entries are, for messages, as `"cell"`.
        places: name -> `"module:Name"`.
        base: the place of the class that one's own entries derive from, or, of functions, are of;
            of either of two, both places; None: nobody's own are taken.

    Raises:
        ConfigError: on look-up of an unknown name, of a place that cannot be imported, or of
            something else than the base.
        CheckpointError: the same within `named_by_file`; its `needs` says what code the user has
            to allow.

    Example:
        >>> table = Table("container", {"ordered": "collections:OrderedDict"}, "builtins:dict")
        >>> table["ordered"].__name__, table["collections:Counter"].__name__
        ('OrderedDict', 'Counter')
    """

    def __init__(self, kind: str, places: dict[str, str], base: str | None = None) -> None:
        self.kind = kind
        self.places = places
        self.base = base

    def __getitem__(self, name: str) -> Any:
        if (place := self.places.get(name)) is not None:
            return imported(place, self.kind)
        file = _reading.get()
        if file is not None and name in file.given:
            file = None  # the user named it
        if self.base is None or ":" not in name:
            own = "" if self.base is None else "; or give your own as module:Name"
            raise _refusal(
                file,
                f"no {self.kind} is named {name!r:.80}.{nearest(name[:80], list(self.places))} "
                f"There are: {', '.join(self.places)}{own}.",
            )
        reading = _reading.get()
        found = self._already(name, file) if file else None
        for check in reading.checks if reading else ():
            check(name)
        found = self._own(name) if found is None else found
        bases = self.base.split()
        if file is not None and len(bases) > 1 and isinstance(found, FunctionType):
            bases = []  # a file could call anything that is in this process anyway
        if not any(_is_of(found, imported(base, self.kind)) for base in bases):
            a = "an" if self.kind[0] in "aeiou" else "a"
            raise _refusal(file, f"{name!r:.80} is not {a} {self.kind}: {self._advice()}")
        return found

    def _advice(self) -> str:
        """Return what one's own entry has to be."""
        base, *more = (self.base or "").split()
        if base == "types:FunctionType":
            return "it must be a function"
        return f"derive it from {base.replace(':', '.')}" + ", or give a function" * bool(more)

    def _own(self, name: str) -> Any:
        """Import what the user named."""
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)
        return imported(name, self.kind)

    def _already(self, name: str, file: _Reading) -> Any:
        """Return what a file names if this process holds it already; nothing is run for it."""
        module_name, _, attribute = name.partition(":")
        if module_name.partition(".")[0] == __package__ and name not in self.places.values():
            raise _refusal(file, f"{name!r:.80} is no {self.kind} that has a name")
        module = sys.modules.get(module_name)
        there = vars(module) if isinstance(module, ModuleType) else {}  # getattr could run code
        if attribute in there:
            return there[attribute]
        error = CheckpointError(
            f"{file.source} names the {self.kind} {name!r:.80}, code of someone's own that loading "
            f"would run: if you trust it, give allow_import=[{name!r:.80}]"
        )
        error.needs = name
        raise error

    def __contains__(self, name: object) -> bool:
        own = self.base is not None and isinstance(name, str) and ":" in name
        return own or (isinstance(name, str) and name in self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _is_of(found: Any, base: Any) -> bool:
    """Return whether something is a function, where these are wanted, or a class that derives."""
    if base is FunctionType:
        return isinstance(found, base)
    return isinstance(found, type) and issubclass(found, base) and not isabstract(found)


def _refusal(file: _Reading | None, why: str) -> ConfigError | CheckpointError:
    """Return the user's mistake, or a file's."""
    return ConfigError(why) if file is None else CheckpointError(f"{file.source}: {why}")
