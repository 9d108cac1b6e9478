"""Time our training step beside the plain one of torch, taking turns in one run.

The model is the 2017 tutorial's: 2 layers of 200, batch 20, 35 steps, 10,000 words, dropout
0.5, gradient clipping, SGD. Each contestant lives in a process of its own, as one would run it,
and waits while another takes a turn of ten steps. Beside them stands the arithmetic floor: the
step's matrix products alone, each as one large product, in bfloat16 and in float32.

    python benchmarks/train_step.py [--rounds 12] [--out benchmarks/results/train_step.json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

import torch
from torch import nn
from torch.nn import functional as F

from record import machine, spread, write
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.learning.optimization import make_optimizer, take_step
from recurra.learning.options import TrainOptions
from recurra.machine import keep_freed_memory
from recurra.nn.state import detach
from recurra.randomness import generator

B, T, H, V, LAYERS = 20, 35, 200, 10_000, 2
DROP, CLIP, RATE = 0.5, 5 / 35, 1.0
WARMUP, TURN = 2, 10


def words() -> torch.Tensor:
    """Return a batch of random words."""
    return torch.randint(0, V, (B, T + 1), generator=torch.Generator().manual_seed(1))


def plain_step() -> Callable[[], None]:
    """Return a step as one writes it with torch alone: nn.LSTM, cross_entropy, SGD."""
    ids = words()
    embedding, lstm = nn.Embedding(V, H), nn.LSTM(H, H, LAYERS, dropout=DROP, batch_first=True)
    linear = nn.Linear(H, V)
    model = nn.ModuleList([embedding, lstm, linear])
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    zeros = torch.zeros(LAYERS, B, H)
    state = (zeros, zeros)

    def step() -> None:
        nonlocal state
        optimizer.zero_grad()
        y, (h, c) = lstm(F.dropout(embedding(ids[:, :-1]), DROP), state)
        logits = linear(F.dropout(y, DROP)).view(-1, V)
        loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        state = (h.detach(), c.detach())
        loss.item()

    return step


def our_step(precision: str) -> Callable[[], None]:
    """Return our step, as `recurra.learning.loop` takes it."""
    keep_freed_memory()
    ids = words()
    options = NetworkOptions(hidden_size=H, num_layers=LAYERS, dropout=DROP, precision=precision)
    network = LanguageNetwork(options, V, generator(1, "init"), sparse=True).train()
    parameters = [p for p in network.parameters() if p.requires_grad]
    training = TrainOptions(learning_rate=RATE, clip_norm=CLIP)
    optimizer = make_optimizer(parameters, training)
    state = network.initial_state(B)
    count = 0

    def step() -> None:
        nonlocal state, count
        masks = generator(1, "dropout", 0, count)
        loss, after = network.loss(ids[:, :-1], ids[:, 1:], state, masks)
        loss.backward()
        take_step(optimizer, training, RATE)
        optimizer.zero_grad()
        state = detach(after)
        count += 1
        loss.item()

    return step


def floor(dtype: torch.dtype) -> Callable[[], None]:
    """Return the step's matrix products alone: forward, and twice as much backward."""
    hidden, weight, logits = (torch.randn(*s).to(dtype) for s in ((B * T, H), (V, H), (B * T, V)))
    wide, gates = torch.randn(4 * H, 2 * H).to(dtype), torch.randn(B * T, 4 * H).to(dtype)
    both = torch.randn(B * T, 2 * H).to(dtype)

    def products() -> None:
        torch.mm(hidden, weight.t())
        torch.mm(logits, weight)
        torch.mm(logits.t(), hidden)
        for _ in range(LAYERS):
            torch.mm(both, wide.t())
            torch.mm(gates, wide)
            torch.mm(gates.t(), both)

    return products


PEER, FLOOR = "nn.LSTM + cross_entropy + SGD, float32", "matrix products alone, bfloat16"

CONTESTANTS: dict[str, Callable[[], Callable[[], None]]] = {
    PEER: plain_step,
    "recurra, bfloat16 products": lambda: our_step("bfloat16"),
    "recurra, float32 throughout": lambda: our_step("float32"),
    FLOOR: lambda: floor(torch.bfloat16),
    "matrix products alone, float32": lambda: floor(torch.float32),
}


def serve(name: str) -> None:
    """Take a turn for every line read, and answer with a step's milliseconds."""
    step = CONTESTANTS[name]()
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(TURN):
            step()
        print((time.perf_counter() - begun) * 1e3 / TURN, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", default="benchmarks/results/train_step.json")
    parser.add_argument("--contestant", choices=CONTESTANTS)
    arguments = parser.parse_args()
    if arguments.contestant:
        serve(arguments.contestant)
        return
    workers = {name: worker(name) for name in CONTESTANTS}
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(WARMUP + arguments.rounds):
        for name, (ask, answer) in workers.items():
            ask.write("step\n")
            ask.flush()
            times[name].append(float(answer.readline()))
    for ask, _ in workers.values():
        ask.close()
    times = {name: each[WARMUP:] for name, each in times.items()}
    base, least = times[PEER], times[FLOOR]
    rows = {}
    for name, each in times.items():
        rows[name] = {
            "ms": spread(each),
            "times_faster": spread([a / b for a, b in zip(base, each)]),
            "times_floor": spread([b / a for a, b in zip(least, each)]),
        }
        ms, faster = rows[name]["ms"]["median"], rows[name]["times_faster"]["median"]
        slower = rows[name]["times_floor"]["median"]
        print(
            f"{name:40} {ms:7.1f} ms  {faster:5.2f} x  {B * T / ms * 1e3:9,.0f} tokens/s  "
            f"{slower:5.2f} x the products in bfloat16"
        )
    write(arguments.out, {"machine": machine(), "rounds": arguments.rounds, "steps": rows})


def worker(name: str) -> tuple[IO[str], IO[str]]:
    """Start a contestant; returns where to ask it and where it answers."""
    command = [sys.executable, __file__, "--contestant", name]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


if __name__ == "__main__":
    main()
