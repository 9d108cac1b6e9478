from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dis import get_instructions
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import walk_packages
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch

from recurra.nn.kernels.compiler import compiled as module
from recurra.nn.kernels.compiler import kept
from recurra.nn.kernels.compiler.compiled import Compiled, _missing, compiled, missing, served, view

SOURCE = """
from recurra.nn.kernels.compiler.compiled import compiled

@compiled
def inner(x):
    return x + {added}

@compiled
def outer(x):
    return 2 * inner(x)
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., ModuleType]:
    def made(added: int, name: str = "kernels_of_a_test") -> ModuleType:
        path = tmp_path / f"{name}.py"
        path.write_text(SOURCE.format(added=added))
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        loaded = module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return made


@pytest.fixture
def folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return cache / "kernels"


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    _missing.cache_clear()
    yield
    _missing.cache_clear()


def hits(kernel: object) -> int:
    return sum(kernel.dispatcher.stats.cache_hits.values())  # type: ignore[attr-defined]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_second_process_finds_what_the_first_compiled(
    load: Callable[..., ModuleType], folder: Path
) -> None:
    first = load(1).outer
    assert first(2) == 6
    assert hits(first) == 0
    assert len(files(folder)) == 2
    again = load(1).outer
    assert again(2) == 6
    assert hits(again) == 1


def test_another_source_is_compiled_again(load: Callable[..., ModuleType], folder: Path) -> None:
    assert load(1).outer(2) == 6
    changed = load(5).outer
    assert (changed(2), hits(changed)) == (14, 0)


def test_a_called_kernel_in_another_file_counts_as_source(
    load: Callable[..., ModuleType], folder: Path
) -> None:
    inner = load(1, "one_file").inner
    outer = compiled(lambda x: inner(x) * 3)
    before = module._mark(outer)
    inner = load(2, "one_file").inner
    assert before != module._mark(compiled(lambda x: inner(x) * 3))


def test_a_file_that_changes_after_its_import_is_not_what_was_compiled(
    load: Callable[..., ModuleType], folder: Path
) -> None:
    imported = load(1)
    changed = load(5)
    assert imported.outer(2) == 6
    assert changed.outer(2) == 14
    assert load(5).outer(2) == 14


def test_a_number_from_another_file_counts_too() -> None:
    def made(number: int) -> Any:
        names = {"NUMBER": number, "__name__": __name__}
        function = FunctionType((lambda x: x + NUMBER).__code__, names)  # type: ignore[name-defined]  # noqa: F821
        return compiled(function)

    assert module._mark(made(1)) == module._mark(made(1)) != module._mark(made(2))


def named_by(kernel: Compiled[..., Any]) -> Iterator[tuple[str, Any]]:
    function: Any = kernel.function
    for instruction in get_instructions(function):
        if instruction.opname == "LOAD_GLOBAL" and instruction.argval in function.__globals__:
            yield instruction.argval, function.__globals__[instruction.argval]


def test_what_the_package_s_kernels_name_is_told_apart_by_their_digests() -> None:
    """A module's attribute, say, would change unseen."""
    package = import_module("recurra.nn.kernels")
    known = (Compiled, module.ByPrecision, *module.NUMBERS)
    found = 0
    for each in walk_packages(package.__path__, "recurra.nn.kernels."):
        for kernel in vars(import_module(each.name)).values():
            if isinstance(kernel, Compiled):
                found += 1
                others = {n for n, v in named_by(kernel) if not isinstance(v, known)}
                assert others <= {"np", "math"}, (each.name, kernel.__name__)
    assert found > 100


@pytest.mark.parametrize("fault", ["nothing", "truncated", "garbage", "swapped"])
def test_a_damaged_copy_is_a_miss(
    load: Callable[..., ModuleType], folder: Path, fault: str
) -> None:
    assert load(1).outer(2) == 6
    known = files(folder)
    others = dict(zip(known, reversed(known.values()), strict=True))
    for path, whole in known.items():
        half = whole[: len(whole) // 2]
        faults = {"nothing": b"", "truncated": half, "garbage": b"?!", "swapped": others[path]}
        path.write_bytes(faults[fault])
    again = load(1).outer
    assert (again(2), hits(again)) == (6, 0)
    assert files(folder).keys() == known.keys()
    healed = load(1).outer
    assert (healed(2), hits(healed)) == (6, 1)


def test_no_bit_of_a_copy_may_change(load: Callable[..., ModuleType], folder: Path) -> None:
    inner = load(1).inner
    assert inner(2) == 3
    ((path, whole),) = files(folder).items()
    (signature,) = inner.dispatcher.overloads
    find = partial(inner.dispatcher._cache.load_overload, signature, inner.dispatcher.targetctx)
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert find() is None
    path.write_bytes(whole)
    assert find() is not None


def test_a_folder_that_cannot_be_made_is_done_without(
    load: Callable[..., ModuleType], folder: Path
) -> None:
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file where the cache should be")
    assert load(1).outer(2) == 6


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_costs_the_copy_alone(
    load: Callable[..., ModuleType], folder: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(error, os.strerror(error))

    assert load(1).inner(2) == 3
    known = files(folder)
    monkeypatch.setattr(kept, "write_bytes", refuse)
    again = load(1)
    assert (again.inner(2), hits(again.inner)) == (3, 1)
    assert (again.outer(2), hits(again.outer)) == (6, 0)
    assert files(folder) == known


@pytest.mark.parametrize("other", ["numba", "processor"])
def test_a_copy_is_not_for_another_numba_or_processor(
    load: Callable[..., ModuleType], folder: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(1).inner
    assert first(2) == 3
    if other == "numba":
        monkeypatch.setattr("numba.__version__", "0.0")
    else:
        codegen = type(first.dispatcher.targetctx.codegen())
        monkeypatch.setattr(
            codegen, "magic_tuple", lambda self: ("a machine", "of another", "kind")
        )
    again = load(1).inner
    assert (again(2), hits(again)) == (3, 0)
    assert len(files(folder)) == 2


def test_two_processes_and_their_threads_may_compile_at_once(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "raced.py").write_text(SOURCE.format(added=1))
    code = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from raced import outer\n"
        "start, found = threading.Barrier(4), []\n"
        "def run():\n"
        "    start.wait()\n"
        "    found.append(outer(2))\n"
        "threads = [threading.Thread(target=run) for _ in range(4)]\n"
        "for step in (threading.Thread.start, threading.Thread.join):\n"
        "    for thread in threads: step(thread)\n"
        "assert found == [6] * 4, found\n"
        "assert len(outer.dispatcher.overloads) == 1\n"
        "print(sum(outer.dispatcher.stats.cache_hits.values()))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [each.wait(120) for each in racing] == [0, 0]
    assert len(files(folder)) == 2
    after = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert after.stdout == b"1\n"
    for each in racing:
        each.communicate()


def test_importing_costs_no_numba() -> None:
    code = (
        "import sys, recurra, recurra.cli, recurra.nn.cells.gru, recurra.nn.unroll\n"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


def test_what_is_served() -> None:
    assert served(torch.zeros(1)) is None
    assert served(torch.zeros(1).double()) is None
    assert "not bfloat16" in str(served(torch.zeros(1).bfloat16()))
    assert "not meta" in str(served(torch.zeros(1, device="meta")))


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert "numba cannot be imported" in str(missing())
    assert served(torch.zeros(1)) == missing()
    monkeypatch.undo()
    _missing.cache_clear()
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert missing() == "NUMBA_DISABLE_JIT is set"
    _missing.cache_clear()
    monkeypatch.setattr("sys.byteorder", "big")
    assert missing() == "compiled kernels are for little-endian machines"


def test_views_share_the_numbers() -> None:
    tensor = torch.zeros(2, 3, requires_grad=True)
    view(tensor)[0, 1] = 5
    assert tensor[0, 1] == 5
    assert view(tensor.T).flags.c_contiguous
