"""The threads that kernels run on: every row once, faults raised, forks survived."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from recurra.nn.kernels import team
from recurra.nn.kernels.team import by_batch


@pytest.fixture(params=["torch's", "our own"])
def threads_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of threads, where torch runs on libgomp."""
    if request.param == "our own":
        monkeypatch.setattr(team, "_openmp", lambda: None)
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
