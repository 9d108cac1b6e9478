"""Time every cell's `unroll`, forward and backward, beside another checkout of the package.

Each checkout lives in a process of its own and waits while the other takes its turn: one thread,
float32. What is told is, cell by cell, the best of all turns of ours over the best of theirs.

    python benchmarks/unrolled.py CHECKOUT [--rounds 8] [--only CELL ...]
        [--out benchmarks/results/unrolled.json]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from record import machine, write

HERE = Path(__file__).resolve().parents[1]
SIZES = {"B 20, T 35, H 200": (20, 35, 200), "B 1, T 35, H 64": (1, 35, 64)}
WORKER = """
import sys, time, torch, recurra as rc
torch.set_num_threads(1)
torch.manual_seed(1)
for line in sys.stdin:
    name, *sizes = line.split()
    B, T, H = map(int, sizes)
    cell, x = rc.CELLS[name](H, H), torch.randn(B, T, H)
    best, until = float("inf"), time.perf_counter() + 0.15
    rc.unroll(cell, x)[0].sum().backward()
    while time.perf_counter() < until:
        begun = time.perf_counter()
        rc.unroll(cell, x)[0].sum().backward()
        best = min(best, time.perf_counter() - begun)
    print(best, flush=True)
"""


def started(tree: Path) -> subprocess.Popen[str]:
    """Return a process that times what it is told, with the package of a checkout."""
    env = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WORKER],
        cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def asked(worker: subprocess.Popen[str], what: str) -> float:
    """Return the seconds that a process took for something."""
    assert worker.stdin is not None and worker.stdout is not None
    print(what, file=worker.stdin, flush=True)
    return float(worker.stdout.readline())


def main() -> None:
    """Measure, and write down."""
    from recurra.nn.cells import CELLS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=list(CELLS))
    parser.add_argument("--out")
    options = parser.parse_args()
    workers = {"ours": started(HERE), "other": started(options.other.resolve())}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for size, (B, T, H) in SIZES.items():
        for name in options.only:
            best = dict.fromkeys(workers, float("inf"))
            for number in range(options.rounds + 1):
                for which, worker in workers.items():
                    took = asked(worker, f"{name} {B} {T} {H}")
                    if number:  # the first compiles
                        best[which] = min(best[which], took)
            ratio = round(best["ours"] / best["other"], 3)
            milliseconds = {which: round(1000 * each, 4) for which, each in best.items()}
            found.setdefault(size, {})[name] = {**milliseconds, "ours over other": ratio}
            print(f"{size}: {name} {ratio}", flush=True)
    for worker in workers.values():
        worker.communicate()
    if options.out:
        write(options.out, {"machine": machine(), "unit": "milliseconds", **found})


if __name__ == "__main__":
    main()
