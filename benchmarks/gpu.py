"""Time training on a GPU: the seed's model for an epoch, and each kernel beside the plain loop.

The model is the 2017 tutorial's: 2 layers of 200, batch 20, 35 steps, 10,000 words, no dropout,
beside the same with nn.LSTM, cross_entropy and SGD of torch alone; on Penn Treebank where
RECURRA_DATA has it, else on random words. `--check` runs the tests that need a GPU first.

    python benchmarks/gpu.py [--check] [--steps 2000] [--out benchmarks/results/gpu.json]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from record import machine, spread, write
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.learning.optimization import make_optimizer, take_step
from recurra.learning.options import TrainOptions
from recurra.nn.cells import CELLS
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell
from recurra.nn.state import detach
from recurra.nn.unroll import plan, unroll, unroll_plain
from recurra.nn.wrappers.base import Recurrence
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.mogrifier import Mogrifier
from recurra.nn.wrappers.zoneout import Zoneout
from recurra.randomness import generator

B, T, H, V, LAYERS = 20, 35, 200, 10_000, 2
CLIP, RATE = 5 / 35, 1.0
SIZES = ((20, 35, 64), (20, 35, 200), (64, 100, 512))
"""B rows, T steps, H units and inputs, of what is timed beside the plain loop."""

WARMUP, ROUNDS = 4, 8
TESTS = ("tests/nn/test_gpu.py", "tests/nn/kernels/device/test_triton_lstm.py")

RECURRENCES: dict[str, Callable[[int], Recurrence]] = {
    **{name: (lambda n, name=name: CELLS[name](n, n)) for name in CELLS},
    "gru, reset before the product": lambda n: GRUCell(n, n, reset_after=False),
    "lstm, dropout of the state": lambda n: Dropout(LSTMCell(n, n), state=0.3),
    "lstm, zoneout": lambda n: Zoneout(LSTMCell(n, n), hidden=0.05, memory=0.5),
    "lstm, mogrifier": lambda n: Mogrifier(LSTMCell(n, n)),
}

Step = Callable[[Tensor], Tensor]


def words() -> tuple[Tensor, str]:
    """Return the words of a training text in order, and where they are from."""
    path = Path(os.environ.get("RECURRA_DATA", "")) / "ptb" / "ptb.train.txt"
    if not path.is_file():
        return torch.randint(0, V, (929_589,), generator=generator(1, "words")), "random words"
    text = path.read_text().replace("\n", " <eos> ").split()
    known = {word: n for n, word in enumerate(dict.fromkeys(text))}
    return torch.tensor([known[word] for word in text]), "Penn Treebank"


def torch_step() -> Step:
    """Return a step as one writes it with torch alone."""
    embedding, lstm = nn.Embedding(V, H), nn.LSTM(H, H, LAYERS, batch_first=True)
    linear = nn.Linear(H, V)
    model = nn.ModuleList([embedding, lstm, linear]).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    zeros = torch.zeros(LAYERS, B, H, device="cuda")
    state = (zeros, zeros)

    def step(ids: Tensor) -> Tensor:
        nonlocal state
        optimizer.zero_grad()
        y, (h, c) = lstm(embedding(ids[:, :-1]), state)
        loss = F.cross_entropy(linear(y).view(-1, V), ids[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        state = (h.detach(), c.detach())
        return loss.detach()

    return step


def our_step(precision: str) -> Step:
    """Return our step, as `recurra.learning.loop` takes it."""
    options = NetworkOptions(hidden_size=H, num_layers=LAYERS, dropout=0.0, precision=precision)
    network = LanguageNetwork(options, V, generator(1, "init"), sparse=True).cuda().train()
    training = TrainOptions(learning_rate=RATE, clip_norm=CLIP)
    optimizer = make_optimizer([p for p in network.parameters() if p.requires_grad], training)
    state, count = network.initial_state(B), 0

    def step(ids: Tensor) -> Tensor:
        nonlocal state, count
        loss, after = network.loss(
            ids[:, :-1], ids[:, 1:], state, generator(1, "dropout", 0, count)
        )
        loss.backward()
        take_step(optimizer, training, RATE)
        optimizer.zero_grad()
        state, count = detach(after), count + 1
        return loss.detach()

    return step


def epoch(step: Step, ids: Tensor, most: int) -> dict[str, float]:
    """Train over the words once; returns how long it took, and the loss of the last steps."""
    rows = ids[: len(ids) // B * B].view(B, -1).cuda()
    starts = range(0, rows.shape[1] - T, T)[:most]
    for start in starts[:WARMUP]:
        step(rows[:, start : start + T + 1])
    torch.cuda.synchronize()
    begun = time.perf_counter()
    losses = [step(rows[:, start : start + T + 1]) for start in starts]
    torch.cuda.synchronize()
    took = time.perf_counter() - begun
    last = torch.stack(losses[-100:]).mean().item()
    return {
        "seconds": round(took, 3),
        "steps": len(starts),
        "ms_per_step": round(took / len(starts) * 1e3, 4),
        "loss_of_last_100": round(last, 4),
    }


def passes(how: Callable[..., Any], cell: Recurrence, x: Tensor) -> Callable[[], None]:
    """Return forward and backward of a recurrence in training mode."""
    masks = torch.Generator().manual_seed(1)

    def run() -> None:
        y, _ = how(cell, x, generator=masks)
        torch.autograd.grad(y.sum(), [x, *cell.parameters()], allow_unused=True)

    return run


def milliseconds(run: Callable[[], None]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) * 1e3


def beside_the_loop(make: Callable[[int], Recurrence], size: tuple[int, int, int]) -> Any:
    """Time a recurrence as it runs and as the plain loop, in turns."""
    rows, steps, units = size
    cell = make(units).cuda().train()
    x = torch.randn(rows, steps, units, device="cuda", requires_grad=True)
    both = [passes(how, cell, x) for how in (unroll, unroll_plain)]
    times = [[milliseconds(run) for run in both] for _ in range(WARMUP + ROUNDS)][WARMUP:]
    ours, plain = map(list, zip(*times))
    return {
        "plan": plan(cell).splitlines()[0].partition(": ")[2],
        "ms": spread(ours),
        "plain_ms": spread(plain),
        "times_faster": spread([b / a for a, b in times]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="run the tests that need a GPU first")
    parser.add_argument("--steps", type=int, default=10**6, help="of the epoch at most")
    parser.add_argument("--out", default="benchmarks/results/gpu.json")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py: torch finds no GPU here; run it on a machine with one")
    if arguments.check:
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", *TESTS], check=True)
    gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    ids, source = words()
    contestants: dict[str, Callable[[], Step]] = {
        "nn.LSTM + cross_entropy + SGD, float32": torch_step,
        "recurra, bfloat16 products": lambda: our_step("bfloat16"),
        "recurra, float32 throughout": lambda: our_step("float32"),
    }
    epochs, kernels = {}, {}
    for name, make in contestants.items():
        epochs[name] = epoch(make(), ids, arguments.steps)
        print(f"{name:40} {epochs[name]}", flush=True)
    for name, recurrence in RECURRENCES.items():
        for size in SIZES:
            key = f"{name}, B={size[0]} T={size[1]} H={size[2]}"
            kernels[key] = found = beside_the_loop(recurrence, size)
            times = [found[part]["median"] for part in ("ms", "plain_ms", "times_faster")]
            said = "{:9.3f} ms, plain {:9.3f} ms, {:6.2f} x".format(*times)
            print(f"{key:52} {said}  {found['plan']}", flush=True)
    result = {"machine": machine() | gpu, "text": source, "epoch": epochs, "kernels": kernels}
    write(arguments.out, result)


if __name__ == "__main__":
    main()
