"""The threads that kernels run on: every row once, faults raised, forks survived."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from recurra.nn.kernels import team
from recurra.nn.kernels.gru_sequence import gru_sequence
from recurra.nn.kernels.scan import scan
from recurra.nn.kernels.team import by_batch


@pytest.fixture(params=["torch's", "our own"])
def threads_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of threads, where torch runs on libgomp."""
    if request.param == "our own":
        monkeypatch.setattr(team, "_openmp", lambda: None)
        monkeypatch.setattr(team, "_addresses", lambda: None)
    elif team._openmp() is None:
        pytest.skip("torch does not run on libgomp here")


@pytest.mark.usefixtures("threads_of")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_row_is_run_once(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for rows in range(8):
        seen = np.zeros(rows)
        who = set()

        def run(start: int, end: int, seen: np.ndarray = seen, who: set[int] = who) -> None:
            seen[start:end] += 1
            who.add(threading.get_ident())

        by_batch(run, rows)
        assert (seen == 1).all()
        assert len(who) <= max(1, min(threads, rows))


def test_few_rows_stay_in_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    parts: list[tuple[int, int]] = []
    by_batch(lambda start, end: parts.append((start, end)), 7, 4)
    assert parts == [(0, 7)]


@pytest.mark.usefixtures("threads_of")
@pytest.mark.parametrize("failing", [0, 2])
def test_a_fault_in_any_thread_is_raised_after_all_have_ended(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done = []

    def run(start: int, end: int) -> None:
        if start == failing:
            raise ValueError("no")
        done.append(start)

    with pytest.raises(ValueError, match="no"):
        by_batch(run, 4)
    assert done == [2 - failing]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_leaves_the_threads_behind() -> None:
    code = (
        "import os, torch\n"
        "from recurra.nn.kernels.team import by_batch\n"
        "torch.set_num_threads(2)\n"
        "done = []\n"
        "by_batch(lambda start, end: done.append(start), 2)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    by_batch(lambda start, end: done.append(start), 2)\n"
        "    os._exit(len(done))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    made = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60)
    assert made.returncode == 4


def test_a_smaller_team_does_all_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    class Alone:
        """A libgomp that has one thread to give, whatever is asked for."""

        omp_get_thread_num = staticmethod(lambda: 0)
        omp_get_num_threads = staticmethod(lambda: 1)
        GOMP_parallel = staticmethod(lambda body, data, asked, flags: body(data))

    monkeypatch.setattr(team, "_openmp", Alone)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    by_batch(lambda start, end: done.extend(range(start, end)), 7)
    assert done == list(range(7))


def test_several_threads_of_the_caller_have_a_team_each() -> None:
    with ThreadPoolExecutor(4) as callers:
        counts = [np.zeros(50) for _ in range(16)]

        def work(count: np.ndarray) -> None:
            def run(start: int, end: int) -> None:
                count[start:end] += 1

            for _ in range(20):
                by_batch(run, 50)

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
        "from recurra.nn.kernels.sequence_linear import sequence_linear\n"
        "torch.set_num_threads(2)\n"
        "x, weights = numbers(4)\n"
        "before = gru_sequence(x, torch.zeros(4, 16), weights)[0]\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    after = gru_sequence(x, torch.zeros(4, 16), weights)[0]\n"
        "    sums = sequence_linear(x, weights[0], weights[2])  # not called before\n"
        "    torch.set_num_threads(1)  # torch's own would wait for the parent's\n"
        "    expected = torch.einsum('btk,mk->btm', x, weights[0]) + weights[2]\n"
        "    same = torch.equal(after, before) and torch.allclose(sums, expected, atol=1e-5)\n"
        "    os._exit(7 if same else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent)]
    assert subprocess.run(command, timeout=120).returncode == 7
