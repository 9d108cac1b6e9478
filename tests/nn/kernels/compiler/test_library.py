"""What is compiled stands alone: its numbers do not depend on what else was compiled or loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.compiler.library import _said, _understood, packed, unpacked

SOURCE = """
from recurra.nn.kernels.compiler.compiled import compiled

@compiled
def mean(v):
    total = v.dtype.type(0)
    for each in v:
        total += each * each
    return total / len(v)

@compiled
def of_rows(v, out):
    for n in range(len(v)):
        out[n] = mean(v[n]) + v[n].sum()
"""


@compiled
def third(x: float) -> float:
    return x / 3


@compiled
def sixth(x: float) -> float:
    return third(x) / 2


def names_of(kernel: Any) -> set[str]:
    (made,) = kernel.dispatcher.overloads.values()
    module = made.library._final_module
    return {
        each.name
        for each in (*module.functions, *module.global_variables)
        if not each.is_declaration and each.linkage.name not in ("internal", "private")
    }


def test_what_is_called_is_inside_and_has_no_name_for_others(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert sixth(12.0) == 2.0
    assert len(names_of(sixth)) == 4  # the function, its callers from Python and C, its environment
    assert all("5sixth" in name for name in names_of(sixth))


def test_bytes_give_the_function_again() -> None:
    assert sixth(12.0) == 2.0
    ((kinds, made),) = sixth.dispatcher.overloads.items()
    content = packed(made)
    assert content is not None
    again = unpacked(content, sixth.function, kinds, made.target_context)
    assert again.entry_point(12.0) == 2.0
    assert again.signature == made.signature
    assert again.library.bitcode == made.library.bitcode


def test_what_a_function_returns_is_said_in_words() -> None:
    from numba import types

    array = types.Array(types.float32, 2, "C")
    for kind in (types.none, types.int64, types.UniTuple(types.float64, 2), array,
                 types.Tuple((array, types.int16))):  # fmt: skip
        assert _understood(_said(kind)) == kind
    for kind in (types.pyobject, types.Tuple((types.pyobject,)), types.unicode_type,
                 types.Array(types.float32, 1, "C", readonly=True)):  # fmt: skip
        assert _said(kind) is None
    for odd in ("os.system", "Dispatcher", {"of": "pyobject", "axes": 1, "layout": "C"}):
        with pytest.raises(ValueError, match="is no type"):
            _understood(odd)


@pytest.fixture
def made(begun: Callable[[str], ModuleType]) -> Callable[[], ModuleType]:
    """A function that imports the source as a process does that begins."""
    return lambda: begun(SOURCE)


def test_a_caller_is_the_same_code_whether_what_it_calls_was_compiled_or_loaded(
    made: Callable[[], ModuleType], cache: Path
) -> None:
    v, out = np.linspace(-3, 3, 350, dtype=np.float32).reshape(10, 35), np.zeros(10, np.float32)

    def compiled_now() -> tuple[bytes, bytes]:
        made().of_rows(v, out)
        (file,) = (cache / "kernels").glob("of_rows.*")
        (kept, _) = file.read_bytes(), file.unlink()
        return kept[32:], out.tobytes()

    first = compiled_now()
    assert compiled_now() == first  # all that it calls is loaded
    for path in (cache / "kernels").glob("mean.*"):
        path.unlink()
    assert compiled_now() == first  # and here a part
    made().mean(v[0])  # and here it ran before
    assert compiled_now() == first
