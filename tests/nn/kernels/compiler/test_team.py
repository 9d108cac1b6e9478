"""The threads that kernels run on: every row once, faults raised, forks survived."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from recurra.nn.kernels.compiler import team
from recurra.nn.kernels.compiler.compiled import compiled
from recurra.nn.kernels.compiler.team import by_rows
from recurra.nn.kernels.loops.gru import gru_sequence
from recurra.nn.kernels.scans.linear import scan


@compiled
def count(seen: np.ndarray, parts: np.ndarray, start: int, end: int) -> None:
    """Count the rows, and note each part's end at its start."""
    seen[start:end] += 1
    if len(parts):
        parts[start] = end


@compiled
def fail(done: np.ndarray, failing: int, start: int, end: int) -> None:
    if start == failing:
        raise ValueError("no")
    done[start] = 1


NO_PARTS = np.zeros(0)


@pytest.fixture(params=["torch's", "our own"])
def threads_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of threads, where torch runs on libgomp."""
    if request.param == "our own":
        monkeypatch.setattr(team, "_addresses", lambda: None)
    elif team._addresses() is None:
        pytest.skip("torch does not run on libgomp here")
    return str(request.param)


@pytest.mark.usefixtures("threads_of")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_row_is_run_once(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for rows in range(8):
        seen, parts = np.zeros(rows), np.zeros(rows)
        by_rows(count, (seen, parts), rows)
        assert (seen == 1).all()
        assert (parts > 0).sum() <= max(1, min(threads, rows))


def test_few_rows_stay_in_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    parts = np.zeros(7)
    by_rows(count, (np.zeros(7), parts), 7, 4)
    assert parts.tolist() == [7, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("failing", [0, 2])
def test_a_fault_in_any_thread_is_raised_after_all_have_ended(
    failing: int, threads_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = np.zeros(4)
    error, words = (MemoryError, "fail ran out of memory on a thread")
    if threads_of == "our own":
        error, words = ValueError, "no"
    with pytest.raises(error, match=words):
        by_rows(fail, (done, failing), 4)
    assert done.nonzero()[0].tolist() == [2 - failing]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_leaves_the_threads_behind() -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, torch\n"
        "from test_team import NO_PARTS, by_rows, count\n"
        "torch.set_num_threads(2)\n"
        "seen = np.zeros(2)\n"
        "by_rows(count, (seen, NO_PARTS), 2)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    by_rows(count, (seen, NO_PARTS), 2)\n"
        "    os._exit(int(seen.sum()))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent)]
    assert subprocess.run(command, timeout=60).returncode == 4


def test_a_smaller_team_does_all_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A libgomp that has one thread to give, whatever is asked for."""
    body, anything, number = ctypes.CFUNCTYPE(None, ctypes.c_void_p), ctypes.c_void_p, ctypes.c_uint
    start = ctypes.CFUNCTYPE(None, anything, anything, number, number)(
        lambda run, data, asked, flags: body(run)(data)
    )
    one, none = (ctypes.CFUNCTYPE(number)(lambda n=n: n) for n in (1, 0))
    alone = tuple(ctypes.cast(each, anything).value for each in (start, none, one))
    monkeypatch.setattr(team, "_addresses", lambda: alone)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    seen, parts = np.zeros(7), np.zeros(7)
    by_rows(count, (seen, parts), 7)
    assert (seen == 1).all()
    assert parts.tolist() == [2, 0, 4, 0, 7, 0, 0]


def test_several_threads_of_the_caller_have_a_team_each() -> None:
    with ThreadPoolExecutor(4) as callers:
        counts = [np.zeros(50) for _ in range(16)]

        def work(seen: np.ndarray) -> None:
            for _ in range(20):
                by_rows(count, (seen, NO_PARTS), 50)

        list(callers.map(work, counts))
    assert all((count == 20).all() for count in counts)


@pytest.fixture
def threads_of_torch() -> Iterator[None]:
    """How many there are is as before when the test is done."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def step(x: torch.Tensor, weights: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Outputs and gradients of two kernels, one that shares out rows and one that may channels."""
    given = [each.detach().requires_grad_() for each in (x, *weights)]
    y, _ = gru_sequence(given[0], x.new_zeros(len(x), 16), tuple(given[1:]))
    h, _ = scan(torch.sigmoid(y), y, x.new_ones(len(x), 16))
    return [y.detach(), h.detach(), *torch.autograd.grad(h.sin().sum(), given)]


def numbers(rows: int, seed: int = 1) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    draws = torch.Generator().manual_seed(seed)
    shapes = ((rows, 400, 8), (48, 8), (48, 16), (48,), (48,))
    x, *weights = (torch.randn(shape, generator=draws) / 4 for shape in shapes)
    return x, tuple(weights)


@pytest.mark.usefixtures("threads_of", "threads_of_torch")
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_the_number_of_threads_may_change_between_calls(rows: int) -> None:
    found = []
    for threads in (1, 2, 4, 1):
        torch.set_num_threads(threads)
        found.append(step(*numbers(rows)))
    for others in found[1:]:
        assert torch.equal(found[0][0], others[0]) and torch.equal(found[0][1], others[1])
        torch.testing.assert_close(others, found[0], rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, found[0], found[3]))


@pytest.mark.usefixtures("threads_of", "threads_of_torch")
def test_kernels_may_be_called_from_several_threads_at_once() -> None:
    torch.set_num_threads(2)
    given = [numbers(4, seed) for seed in range(4)]
    expected = [step(*each) for each in given]
    with ThreadPoolExecutor(4) as callers:
        for _ in range(5):
            for found, right in zip(callers.map(lambda each: step(*each), given), expected):
                assert all(map(torch.equal, found, right))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_calls_kernels_that_its_parent_called() -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch\n"
        "from test_team import gru_sequence, numbers\n"
        "from recurra.nn.kernels.products.linear import sequence_linear\n"
        "torch.set_num_threads(2)\n"
        "x, weights = numbers(4)\n"
        "before = gru_sequence(x, torch.zeros(4, 16), weights)[0]\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    after = gru_sequence(x, torch.zeros(4, 16), weights)[0]\n"
        "    sums = sequence_linear(x, weights[0], weights[2])  # not called before\n"
        "    expected = torch.einsum('btk,mk->btm', x, weights[0]) + weights[2]\n"
        "    same = torch.equal(after, before) and torch.allclose(sums, expected, atol=1e-5)\n"
        "    os._exit(7 if same else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent)]
    assert subprocess.run(command, timeout=120).returncode == 7


KINDS = ("lstm", "gru", "layer_norm_lstm", "projected_lstm", "mgu", "slstm", "min_gru", "rwkv")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_runs_every_kind_of_loop_and_torch_s_own() -> None:
    code = (
        "import multiprocessing as mp, sys, torch, recurra as rc\n"
        "torch.set_num_threads(2)\n"
        "x = torch.randn(8, 12, 32)\n"
        "cells = [rc.CELLS[name](32, 64) for name in sys.argv[1:]]\n"
        "plain, wide = torch.nn.LSTM(32, 64), torch.randn(400, 400)\n"
        "def numbers():\n"
        "    given = x.clone().requires_grad_()\n"
        "    found = [rc.unroll(cell, given)[0] for cell in cells]\n"
        "    found += [plain(given)[0], wide @ wide]\n"
        "    sum(y.sum() for y in found).backward()\n"
        "    return [y.detach() for y in found] + [given.grad]\n"
        "before = numbers()\n"
        "def child(_):\n"
        "    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) "
        "for a, b in zip(numbers(), before))\n"
        "with mp.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(child, range(2)), torch.get_num_threads())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *KINDS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "[True, True] 2\n"
