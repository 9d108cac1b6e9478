"""What the machine has, whatever machine it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra import machine
from recurra.errors import RunError
from recurra.machine import (
    available_memory,
    choose_device,
    is_out_of_memory,
    keep_freed_memory,
    native_bfloat16,
    on_threads,
    usable_cores,
    worth_threads,
)


def told(monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], str]) -> None:
    monkeypatch.setattr(machine.Path, "read_text", lambda path, *rest: read(path))


def test_available_memory_is_plausible() -> None:
    memory = available_memory()
    if Path("/proc/meminfo").exists():
        assert memory is not None
        assert 2**20 < memory < 2**50


def test_memory_is_what_the_system_calls_available(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, lambda _: "MemTotal:  900 kB\nMemAvailable:     512 kB\nHugePages_Total: 0\n")
    assert available_memory() == 512 * 1024


def test_where_the_system_does_not_say_memory_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told(monkeypatch, lambda _: "MemTotal:  900 kB\n")
    assert available_memory() is None

    def refuse(path: Path) -> str:
        raise FileNotFoundError(path)

    told(monkeypatch, refuse)
    assert available_memory() is None


@pytest.mark.parametrize(
    ("name", "gpu", "expected"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_of_a_name(
    monkeypatch: pytest.MonkeyPatch, name: str, gpu: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert choose_device(name) == torch.device(expected)


def test_a_gpu_that_is_not_there_ends_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="--device cuda: torch finds no GPU here; take --device cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("cuDNN error: out of memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
        (OSError(28, "No space left on device"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_which_errors_say_that_memory_ran_out(error: Any, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_processors_own_refusal_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


def test_where_memory_cannot_be_tuned_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no C library")

    for broken in (refuse, lambda _: object()):
        monkeypatch.setattr(machine.ctypes, "CDLL", broken)
        keep_freed_memory()


def test_freed_memory_is_kept_for_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value))
            return 1

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: Library())
    keep_freed_memory()
    # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h; glibc refuses a threshold above 32 MB.
    assert asked == [(-3, 32 * 2**20), (-1, 512 * 2**20)]


def test_native_bfloat16_is_what_torch_says() -> None:
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert native_bfloat16(torch.device("cpu")) is bool(supported)
    assert native_bfloat16(torch.device("meta")) is False


def older(quota: str) -> dict[str, str]:
    """Return the files of a control group of the first version."""
    return {"cpu/a/cpu.cfs_quota_us": quota, "cpu/a/cpu.cfs_period_us": "100000"}


def groups(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("of_process", "files", "cores"),
    [
        ("0::/", {"cpu.max": "max 100000\n"}, 8),
        ("0::/", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/a/b", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 1),
        ("0::/a", {"a/cpu.max": "50000 100000\n"}, 1),
        ("4:cpu,cpuacct:/a", older("300000"), 3),
        ("4:cpu:/a", older("-1"), 8),
        ("4:memory:/a", older("100000"), 8),
        ("0::/", {"cpu.max": "what\n"}, 8),
        ("0::/gone", {}, 8),
    ],
)  # fmt: skip
def test_cores_are_those_within_the_quota(
    of_process: str, files: dict[str, str], cores: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    read = Path.read_text
    told(monkeypatch, lambda p: of_process if p == Path("/proc/self/cgroup") else read(p))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "CGROUPS", groups(tmp_path, files))
    assert usable_cores() == cores


def test_threads_follow_from_work_and_cores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    monkeypatch.setattr("os.getloadavg", lambda: (90.0, 90.0, 90.0), raising=False)
    assert (worth_threads(machine.WORTH - 1), worth_threads(machine.WORTH)) == (1, 3)


def test_torch_has_its_threads_back_whatever_happens() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RunError), on_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RunError("no")
    assert torch.get_num_threads() == before
