"""Kernels for the processor, compiled on this machine: numba and its disk cache.

Nothing here imports numba before a kernel runs. What is compiled is kept in `$NUMBA_CACHE_DIR`,
else under the cache folder; where neither can be written, each process compiles anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from recurra.errors import ConfigError
from recurra.nn.kernels.compiler import kept, library
from recurra.nn.kernels.compiler.kept import Kept
from recurra.nn.kernels.compiler.library import pipeline
from recurra.storage.folders import cache_folder
from recurra.work import working

__all__ = [
    "ByPrecision",
    "Compiled",
    "compiled",
    "compiled_folder",
    "is_transformed",
    "missing",
    "served",
    "type_of",
    "unserved",
    "view",
]

P = ParamSpec("P")
R = TypeVar("R")

FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
"""What the compiler may assume: any order of sums, fused products; never that all is finite."""

NUMBERS = (bool, int, float, np.number)
"""What a compiled function has in it as it was."""

_making = threading.Lock()


class Compiled(Generic[P, R]):
    """A function that is compiled at its first call for each kind of arguments.

    It may call other Compiled functions and read numbers, each by a name of its own module: with
    the files' text as it was imported, these tell whether the copy on disk is still of it.

    Args:
        function: in the part of Python and numpy that numba knows.
        options: of `numba.njit`.
    """

    def __init__(self, function: Callable[P, R], **options: Any) -> None:
        self.function = function
        self.text = _hash_of(function.__code__.co_filename)
        self.options = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"} | options
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it."""
        return cast("R", self.dispatcher(*args, **kwargs))

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function; calling it saves a microsecond."""
        numba = _numba()
        with _making:
            mark = _mark(self)
            made = numba.njit(pipeline_class=pipeline(mark), **self.options)(self.function)
            if mark is not None and (folder := compiled_folder()) is not None:
                made._cache = Kept(self.function, folder, mark, self.prepare)
        return made

    def prepare(self, kinds: tuple[Any, ...]) -> None:
        """Do what is to be done before code is loaded: nothing.

        Args:
            kinds: numba's types of the arguments that the code is for.
        """

    def typed(self) -> Any:
        """Return the type that numba gives it within other functions."""
        return _numba().types.Dispatcher(self.dispatcher)


class ByPrecision:
    """A function of one number for the use of Compiled ones, with a body for each precision.

    Args:
        single: from float32 to float32.
        double: from float64 to float64.
    """

    def __init__(self, single: Compiled[[Any], Any], double: Compiled[[Any], Any]) -> None:
        self.single, self.double = single, double
        self.__name__ = double.__name__

    def __call__(self, x: Any) -> Any:
        """Run it outside of compiled code, as tests do.

        Args:
            x: a number of numpy.
        """
        return self.single(x) if isinstance(x, np.float32) else self.double(x)

    @cached_property
    def registered(self) -> Callable[[Any], Any]:
        """The function under which numba knows the two."""
        single, double = self.single, self.double
        numba = _numba()

        def choose(x: Any) -> Any:
            raise NotImplementedError

        # Lambdas, as numba takes annotations for a difference.
        numba.extending.overload(choose)(
            lambda x: (lambda x: single(x)) if x == numba.types.float32 else (lambda x: double(x))
        )
        return choose

    def typed(self) -> Any:
        """Return the type that numba gives it within other functions."""
        return type_of(self.registered)


def type_of(function: Any) -> Any:
    """Return the type that numba gives a function of which it has just been told.

    Args:
        function: as `numba.extending` returns it.
    """
    known = import_module("numba.core.registry").cpu_target.typing_context
    known.refresh()
    return known.resolve_value_type(function)


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Return the function, to be compiled for the processor when it is first called.

    Args:
        function: in the part of Python and numpy that numba knows.

    Source: Lam, Pitrou & Seibert 2015, "Numba: a LLVM-based Python JIT compiler".

    Example:
        >>> @compiled
        ... def double(x: float) -> float:
        ...     return 2 * x
        >>> double(3.0)
        6.0
    """
    return Compiled(function)


def missing() -> str | None:
    """Return why compiled kernels cannot run here; None where they can.

    Example:
        >>> missing() is None
        True
    """
    return _missing()


# What torch.compiler.assume_constant_result sets, without importing the compiler.
missing._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _missing() -> str | None:
    if sys.byteorder != "little":
        return "compiled kernels are for little-endian machines"
    try:
        numba = import_module("numba")
    except (ImportError, OSError, SystemError, AttributeError) as error:
        return f"numba cannot be imported ({str(error).splitlines()[0] if str(error) else error!r})"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    return None


def served(x: Tensor) -> str | None:
    """Return why compiled kernels do not serve such a tensor; None where they do.

    Under autocast they go on in the dtype of `x`, at no loss but time.

    Args:
        x: the sequences, or anything of their device and dtype.

    Example:
        >>> served(torch.zeros(1).half())
        'compiled kernels are of float32 and float64, not float16'
    """
    if x.device.type != "cpu":
        return f"compiled kernels are for the processor, not {x.device.type}"
    if reason := unserved(x):
        return reason
    if x.dtype not in (torch.float32, torch.float64):
        name = str(x.dtype).removeprefix("torch.")
        return f"compiled kernels are of float32 and float64, not {name}"
    return missing()


def unserved(x: Tensor) -> str | None:
    """Return why no kernel serves such a tensor; None where some do.

    Args:
        x: the sequences, or anything of their device.

    Example:
        >>> unserved(torch.empty(1, device="meta"))
        'nothing is computed on meta'
    """
    if is_transformed():
        return "a transform of torch.func is at work"
    return "nothing is computed on meta" if x.is_meta else None


def is_transformed() -> bool:
    """Return whether a transform of torch.func or forward-mode differentiation is at work.

    No operator of ours has a rule for them: tangents would be zeros without a word.

    Example:
        >>> is_transformed()
        False
    """
    level: int = torch.autograd.forward_ad._current_level
    return level >= 0 or torch._C._are_functorch_transforms_active()


def view(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the numbers of a tensor as an array in C order, in place where they are so already.

    Args:
        tensor: on the processor.

    Example:
        >>> view(torch.zeros(2, 3)).shape
        (2, 3)
    """
    return tensor.detach().contiguous().numpy()


@cache
def _numba() -> Any:
    typeof = import_module("numba.extending").typeof_impl
    typeof.register(Compiled)(lambda value, context: value.typed())
    typeof.register(ByPrecision)(lambda value, context: value.typed())
    _tell_of_compiling()
    return import_module("numba")


def _tell_of_compiling() -> None:
    """Have numba say of each function that it compiles that this is under way."""
    events = import_module("numba.core.event")

    class Telling(events.Listener):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.under_way: list[AbstractContextManager[Any]] = []

        def on_start(self, event: Any) -> None:
            self.under_way.append(
                working(f"compiling the kernel {event.data['dispatcher'].__name__}")
            )
            self.under_way[-1].__enter__()

        def on_end(self, event: Any) -> None:
            self.under_way.pop().__exit__(None, None, None)

    events.register("numba:compile", Telling())


def compiled_folder() -> Path | None:
    """Return the folder that compiled code is kept in; None where there is none.

    Example:
        >>> compiled_folder() is None
        False
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    try:
        return Path(given) / "recurra" if given else cache_folder() / "kernels"
    except (OSError, ConfigError):
        return None


def _mark(kernel: Compiled[..., Any]) -> str | None:
    """Return what tells a function and all that its code depends on; None where that is unknown."""
    facts = _facts(kernel, set()) | _OF_THE_COMPILER
    if None in facts:
        return None
    whole = "\n".join([_identity(kernel), *sorted(map(str, facts))])
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def _identity(value: Any) -> str:
    """Return what tells apart the functions that one function makes around several."""
    if isinstance(value, ByPrecision):
        return f"{_identity(value.single)}|{_identity(value.double)}"
    if not isinstance(value, Compiled):
        return repr(value)
    function = cast("FunctionType", value.function)
    code, closed = function.__code__, function.__closure__ or ()
    parts = [_identity(cell.cell_contents) for cell in closed]
    options = {k: sorted(v) if isinstance(v, set) else v for k, v in value.options.items()}
    name = f"{function.__module__}.{function.__qualname__}:{code.co_firstlineno}"
    facts = (type(value).__name__, name, code.co_code.hex(), parts, sorted(options.items()))
    return repr(facts)


def _hash_of(source: str) -> str | None:
    """Return the hash of a file's text as it is now; None where there is no such file."""
    try:
        found = Path(source).stat()
        return _hash_of_version(source, found.st_mtime_ns, found.st_size)
    except OSError:
        return None


@cache
def _hash_of_version(source: str, changed: int, size: int) -> str:
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()


_OF_THE_COMPILER = {_hash_of(file) for file in (__file__, library.__file__, kept.__file__)}


def _facts(kernel: Compiled[..., Any], seen: set[Any]) -> set[str | None]:
    """Return what tells a function's code: texts and numbers of it and of all that it names."""
    function = cast("FunctionType", kernel.function)
    seen.add(kernel)
    facts = {kernel.text}
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    named = {name: function.__globals__.get(name) for name in _names(function.__code__)}
    facts |= {f"{name} = {value!r}" for name, value in named.items() if isinstance(value, NUMBERS)}
    for value in [*cells, *named.values()]:
        parts = (value.single, value.double) if isinstance(value, ByPrecision) else (value,)
        for part in parts:
            if isinstance(part, Compiled) and part not in seen:
                facts |= _facts(part, seen)
    return facts


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
