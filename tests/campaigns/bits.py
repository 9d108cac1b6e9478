"""Whatever was compiled when, in whichever process, the same numbers come out to the bit.

Every cell, wrapper and loss runs forward and backward: in a process that compiles all of it, in one
that loads all of it, and in some that find a part of it, ask in another order and hash strings
otherwise; on one thread and on two. The loops themselves give the same on any number of threads,
but products of torch's need not; so numbers of threads are compared only each with itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOME = 4
"""Processes that find a part of what is compiled, for each number of threads."""
OFTEN_FOUND = (0.0, 0.25, 0.5, 0.75)

Case = Callable[[], Mapping[str, Any]]


def run(seed: int) -> dict[str, Any]:
    """Compare all of them; `seed` chooses what is found and the order."""
    wrong: dict[str, list[str]] = {}
    count = 0
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            ways = different(Path(folder), threads, seed, SOME)
        count += ways.pop("hashes")
        wrong |= {f"{threads} threads, {way}": names for way, names in ways.items() if names}
    return {"hashes": count, "wrong": wrong, "failed": sum(map(len, wrong.values()))}


def different(
    folder: Path, threads: int, seed: int, some: int, only: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return how many hashes there are, and for each way of compiling those that are others."""
    draws = random.Random(seed)
    first = hashes_of(folder, threads, 0, only)
    again = hashes_of(folder, threads, 0, only)
    found: dict[str, Any] = {"hashes": len(first), "loaded": _unequal(first, again)}
    for number in range(some):
        left = OFTEN_FOUND[number % len(OFTEN_FOUND)]
        for path in sorted(folder.rglob("kernels/*")):
            if draws.random() >= left:
                path.unlink()
        other = hashes_of(folder, threads, draws.randrange(1, 2**31), only)
        found[f"with {left:.0%} of them, {number}"] = _unequal(first, other)
    return found


def _unequal(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def hashes_of(folder: Path, threads: int, order: int, only: tuple[str, ...]) -> dict[str, str]:
    """Return the hashes that a process of its own finds; `order` 0 is that of the tables."""
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    env |= {"RECURRA_CACHE": str(folder), "PYTHONHASHSEED": str(order % 2**32)}
    command = [sys.executable, __file__, str(threads), str(order), *only]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


# What the processes do


def cases() -> dict[str, Case]:
    """Return what there is to run, by name."""
    from test_contract import CELL_CASES, DRAWING, FEW_CELLS, LOOKING_AHEAD, SURE

    from recurra.nn.cells import CELLS

    found: dict[str, Case] = {}
    for name in CELLS:
        for dtype in ("float32", "float64"):
            for rows, steps, inputs, width in ((1, 5, 8, 8), (7, 19, 24, 32)):
                at = f"{name} {dtype} {rows} x {steps}, {inputs} to {width}"
                found[at] = _cell(CELLS[name], dtype, rows, steps, inputs, width)
    for wrap, made in {**SURE, **LOOKING_AHEAD, **DRAWING}.items():
        for name in FEW_CELLS:
            found[f"{wrap} of {name}"] = _wrapped(made, CELL_CASES[name])
    for name, options in NETWORKS.items():
        found[f"network, {name}"] = _network(options)
    return found


NETWORKS: dict[str, dict[str, Any]] = {
    "full": {"precision": "float32"},
    "full in bfloat16": {"precision": "bfloat16"},
    "dropout": {"dropout": 0.4, "input_dropout": 0.1, "weight_dropout": 0.3, "variational": True},
    "sampled": {"sampled": 64, "tied": True},
    "mixture": {"softmax": "mixture", "experts": 3, "precision": "float32"},
    "mixture in bfloat16": {"softmax": "mixture", "experts": 3, "precision": "bfloat16"},
    "adaptive": {"softmax": "adaptive", "cutoffs": "100/300"},
}


def _cell(make: Any, dtype: str, rows: int, steps: int, inputs: int, width: int) -> Case:
    def case() -> Mapping[str, Any]:
        import torch
        from test_contract import everything

        from recurra.nn.unroll import unroll

        cell = make(inputs, width).to(getattr(torch, dtype))
        x = torch.randn(rows, steps, inputs, dtype=getattr(torch, dtype))
        lengths = torch.arange(steps, steps - rows, -1).clamp(min=0)
        state = cell.initial_state(rows)
        whole = everything(unroll, cell, x, state)
        cut = everything(unroll, cell, x, state, lengths=lengths)
        with torch.no_grad():
            after, _ = unroll(cell, x[:, :3], state)
        return whole | {f"{name}, cut": each for name, each in cut.items()} | {"no grad": after}

    return case


def _wrapped(wrap: Any, make: Any) -> Case:
    def case() -> Mapping[str, Any]:
        from test_contract import everything, given

        from recurra.nn.unroll import unroll

        cell = wrap(make)
        return everything(unroll, cell, *given(cell))

    return case


def _network(options: dict[str, Any]) -> Case:
    def case() -> Mapping[str, Any]:
        import torch

        from recurra.language.network import LanguageNetwork
        from recurra.language.options import NetworkOptions

        made = NetworkOptions(hidden_size=32, **options)
        network = LanguageNetwork(made, 500, torch.Generator().manual_seed(3)).train()
        ids = torch.randint(500, (2, 8, 25))
        draws = torch.Generator().manual_seed(4)
        loss, _ = network.loss(ids[0], ids[1], network.initial_state(8), draws)
        loss.backward()
        network.eval()
        with torch.no_grad():
            hidden, _ = network(ids[0], network.initial_state(8))
            scores = network.head.log_probs_of(hidden.flatten(0, 1), ids[1].flatten())
        gradients = {name: each.grad for name, each in network.named_parameters()}
        return {"loss": loss, "scores": scores} | gradients

    return case


def main(threads: int, order: int, only: Iterable[str]) -> dict[str, str]:
    """Run what there is, or what begins so, and return the hash of each tensor."""
    sys.path[:0] = [str(ROOT / "tests" / "nn"), str(ROOT / "src")]
    import torch

    torch.set_num_threads(threads)
    chosen = {n: c for n, c in cases().items() if not only or n.startswith(tuple(only))}
    names = list(chosen)
    if order:
        random.Random(order).shuffle(names)
    found = {}
    for name in names:
        torch.manual_seed(1)
        for part, tensor in chosen[name]().items():
            if tensor is not None:
                whole = tensor.detach().to_dense().reshape(-1)
                whole = whole.clone(memory_format=torch.contiguous_format).view(torch.uint8)
                found[f"{name}: {part}"] = hashlib.sha256(whole.numpy()).hexdigest()[:16]
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
