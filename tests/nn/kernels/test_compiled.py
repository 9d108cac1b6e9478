from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

from recurra.nn.kernels import compiled as module
from recurra.nn.kernels.compiled import _missing, compiled, missing, served, view

SOURCE = """
from recurra.nn.kernels.compiled import compiled

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
    return cache / "compiled"


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    _missing.cache_clear()
    yield
    _missing.cache_clear()


def hits(kernel: object) -> int:
    return sum(kernel.dispatcher.stats.cache_hits.values())  # type: ignore[attr-defined]


def test_the_second_process_finds_what_the_first_compiled(
    load: Callable[..., ModuleType], folder: Path
) -> None:
    first = load(1).outer
    assert first(2) == 6
    assert hits(first) == 0
    kept = list(folder.rglob("*.nbc"))
    assert len(kept) == 2
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
    before = module._folder(outer.function)  # type: ignore[arg-type]
    load(2, "one_file")
    assert before != module._folder(outer.function)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["nothing", "truncated", "garbage"])
def test_a_damaged_copy_is_a_miss(
    load: Callable[..., ModuleType], folder: Path, fault: str
) -> None:
    assert load(1).outer(2) == 6
    for path in folder.rglob("*.nb?"):
        whole = path.read_bytes()
        path.write_bytes({"nothing": b"", "truncated": whole[: len(whole) // 2]}.get(fault, b"?!"))
    again = load(1).outer
    assert (again(2), hits(again)) == (6, 0)


def test_a_folder_that_cannot_be_made_is_done_without(
    load: Callable[..., ModuleType], folder: Path
) -> None:
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file where the cache should be")
    assert load(1).outer(2) == 6


def test_a_full_disk_costs_the_copy_alone(
    load: Callable[..., ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert load(1).outer(2) == 6
    assert not list(folder.rglob("*.nbc"))


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
